package snapshot

import (
	"strings"
	"testing"
)

func TestDecodeDeltaRefuses(t *testing.T) {
	meta := Encode(sampleRows()[0])
	upsert := appendEntry([]byte{recordUpsert}, meta)
	local := appendEntry([]byte{recordUpsert}, Encode(sampleRows()[9]))
	tests := map[string]struct {
		bytes []byte
		want  string
	}{
		"unknown mark":    {[]byte{2, 1, 0}, "value 2 is over 1"},
		"unknown table":   {[]byte{recordDelete, 99, 0}, "table 99: unknown"},
		"key too long":    {[]byte{recordDelete, uint8(TableLocal), 0x81, 0x04}, "513 bytes are over 512"},
		"cut":             {upsert[:len(upsert)-1], "ends early"},
		"record twice":    {append(append([]byte{}, upsert...), upsert...), "unsorted or repeats"},
		"out of order":    {append(append([]byte{}, local...), upsert...), "unsorted or repeats"},
		"delete and add":  {append([]byte{recordDelete, uint8(TableMeta), 0}, upsert...), "unsorted or repeats"},
		"row not decoded": {append([]byte{recordUpsert}, uint8(TableMeta), 0, 1, 0), "meta row"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if d, err := DecodeDelta(test.bytes); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v and error %v, want one with %q", d, err, test.want)
			}
		})
	}
}
