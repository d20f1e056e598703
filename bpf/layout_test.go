package bpf

import (
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/cilium/ebpf/btf"
)

// TestMirror compares every mirrored type with the C structure of the object's BTF:
// names, offsets and sizes of all fields.
func TestMirror(t *testing.T) {
	mirrored := map[string]any{
		"header": Header{}, "edges": Edges{}, "seal": Seal{}, "rules": Rules{},
		"entry4": Entry4{}, "bucket4": Bucket4{}, "key6": Key6{}, "bucket6": Bucket6{},
		"slot": Slot{}, "slots": Slots{}, "cells": Cells{}, "answer": Answer{}, "segment": Segment{},
		"record": Record{}, "segments": Segments{}, "counter": Counter{}, "limit": Limit{},
		"pair_key": PairKey{}, "pair": Pair{}, "event": Event{}, "question": Question{}, "outcome": Outcome{},
	}
	var specs []*btf.Spec
	for _, o := range []Object{Verdict, Trial} {
		spec, err := o.Spec()
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, spec.Types)
	}
	for name, mirror := range mirrored {
		t.Run(name, func(t *testing.T) {
			var c *btf.Struct
			for _, s := range specs {
				if s.TypeByName(name, &c) == nil {
					break
				}
			}
			if c == nil {
				t.Fatalf("struct %s is in no object", name)
			}
			compare(t, c, reflect.TypeOf(mirror))
		})
	}
}

func compare(t *testing.T, c *btf.Struct, g reflect.Type) {
	t.Helper()
	if uintptr(c.Size) != g.Size() {
		t.Errorf("%s: %d bytes in C, %d in Go", c.Name, c.Size, g.Size())
	}
	if len(c.Members) != g.NumField() {
		t.Fatalf("%s: %d fields in C, %d in Go", c.Name, len(c.Members), g.NumField())
	}
	for i, m := range c.Members {
		f := g.Field(i)
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		if got := snake(f.Name); got != m.Name {
			t.Errorf("%s: field %d is %s in C, %s in Go", c.Name, i, m.Name, got)
		}
		if uintptr(m.Offset.Bytes()) != f.Offset || uintptr(size) != f.Type.Size() {
			t.Errorf("%s.%s: offset %d, size %d in C; %d, %d in Go", c.Name, m.Name, m.Offset.Bytes(), size, f.Offset, f.Type.Size())
		}
	}
}

// snake turns ClientPort, Address4Base and UIDHigh into client_port, address4_base and uid_high.
func snake(name string) string {
	var b strings.Builder
	for i, r := range name {
		last := i == len(name)-1 || !unicode.IsLower(rune(name[i+1])) // of a run of capitals
		if unicode.IsUpper(r) && i > 0 && (!last || !unicode.IsUpper(rune(name[i-1]))) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

func TestLinesAreLines(t *testing.T) {
	views := map[string]uintptr{
		"header": reflect.TypeFor[Header]().Size(), "edges": reflect.TypeFor[Edges]().Size(),
		"seal": reflect.TypeFor[Seal]().Size(), "bucket4": reflect.TypeFor[Bucket4]().Size(),
		"bucket6": reflect.TypeFor[Bucket6]().Size(), "slots": reflect.TypeFor[Slots]().Size(),
		"cells": reflect.TypeFor[Cells]().Size(), "record": reflect.TypeFor[Record]().Size(),
		"segments": reflect.TypeFor[Segments]().Size(), "rules": reflect.TypeFor[Rules]().Size(),
	}
	for name, size := range views {
		if size != LineSize {
			t.Errorf("%s has %d bytes, a line %d", name, size, LineSize)
		}
	}
}
