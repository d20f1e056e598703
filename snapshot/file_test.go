package snapshot

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write golden files")

func sampleFile() *File {
	c := sampleCommit()
	return &File{Commit: c, Signature: Sign(testKey(1), c), Set: sampleSet()}
}

// TestGoldenFile: a file once written stays readable; a change of format shows
// here and asks for a new number of Format.
func TestGoldenFile(t *testing.T) {
	for name, f := range map[string]*File{
		"format1.palisnap":         sampleFile(),
		"format1-runtime.palisnap": sampleRuntimeFile(),
	} {
		t.Run(name, func(t *testing.T) { testGoldenFile(t, name, f) })
	}
}

func testGoldenFile(t *testing.T, name string, sample *File) {
	path := filepath.Join("testdata", name)
	got := AppendFile(nil, sample)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the encoding of the sample snapshot changed")
	}
	f, err := ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Verify(NewKeys(public(testKey(1)))); err != nil {
		t.Fatal(err)
	}
}

func TestFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSet(t)
		s.Put(Encode(MetaRow{Node: "n"}))
		c := Commit{Node: "n", Format: Format, Generation: Generation{1, 2, 3}, Digest: s.Digest()}
		in := &File{Commit: c, Signature: Sign(testKey(1), c), Set: s}
		b := AppendFile(nil, in)
		out, err := ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		if out.Commit != in.Commit || out.Signature != in.Signature || !Diff(in.Set, out.Set).Empty() {
			t.Fatal("file changed on its way")
		}
		if !bytes.Equal(AppendFile(nil, out), b) {
			t.Fatal("file has two encodings")
		}
	})
}

// reseal gives changed bytes a right checksum: what someone would do who wants
// the change to go unnoticed.
func reseal(b []byte) []byte {
	body := b[:len(b)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

func TestReadFileRefuses(t *testing.T) {
	whole := AppendFile(nil, sampleFile())
	with := func(change func(*File)) []byte {
		f := sampleFile()
		change(f)
		return AppendFile(nil, f)
	}
	tests := map[string]struct {
		bytes []byte
		want  error
	}{
		"nothing":       {nil, ErrDamaged},
		"other magic":   {append([]byte("X"), whole[1:]...), ErrDamaged},
		"cut":           {whole[:len(whole)-1], ErrDamaged},
		"longer":        {append(bytes.Clone(whole), 0), ErrDamaged},
		"newer format":  {with(func(f *File) { f.Commit.Format++ }), ErrFormat},
		"other digest":  {with(func(f *File) { f.Commit.Digest[0] ^= 1 }), ErrDigest},
		"row missing":   {with(func(f *File) { f.Set.Delete(KeyOf(sampleRows()[9])) }), ErrDigest},
		"foreign node":  {with(func(f *File) { f.Commit.Node = "node-b" }), ErrDigest},
		"entries short": {reseal(append(bytes.Clone(whole[:len(whole)-sha256.Size-1]), make([]byte, sha256.Size)...)), errTruncated},
		"entries long":  {reseal(append(append(bytes.Clone(whole[:len(whole)-sha256.Size]), 1), make([]byte, sha256.Size)...)), errTrailing},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadFile(test.bytes); !errors.Is(err, test.want) {
				t.Fatalf("error %v, want %v", err, test.want)
			}
		})
	}
	t.Run("any bit", func(t *testing.T) {
		for i := range whole {
			changed := bytes.Clone(whole)
			changed[i] ^= 1
			if _, err := ReadFile(changed); err == nil {
				t.Fatalf("bit in byte %d: accepted", i)
			}
			f, err := ReadFile(reseal(changed))
			if err == nil && f.Verify(NewKeys(public(testKey(1)))) == nil && i < len(whole)-sha256.Size {
				t.Fatalf("bit in byte %d, resealed: accepted", i)
			}
		}
	})
}

func FuzzReadFile(f *testing.F) {
	whole := AppendFile(nil, sampleFile())
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(AppendFile(nil, sampleRuntimeFile()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < sha256.Size {
			return
		}
		// With a right checksum the decoder behind it is reached.
		b = reseal(b)
		file, err := ReadFile(b)
		if err == nil && !bytes.Equal(AppendFile(nil, file), b) {
			t.Fatal("file has two encodings")
		}
	})
}

func FuzzDelta(f *testing.F) {
	f.Add(AppendDelta(nil, Diff(NewSet(), sampleSet())))
	f.Add(AppendDelta(nil, Diff(sampleSet(), NewSet())))
	f.Add(AppendDelta(nil, Diff(sampleSet(), sampleRuntimeFile().Set)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDelta(b)
		if err == nil && !bytes.Equal(AppendDelta(nil, d), b) {
			t.Fatal("delta has two encodings")
		}
	})
}
