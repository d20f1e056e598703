package main

import (
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"

	"palisade.dev/palisade/snapshot"
)

// rowJSON is one line of what compile -o writes.
type rowJSON struct {
	Node  string `json:"node"`
	Table string `json:"table"`
	Row   any    `json:"row"`
}

// readable gives a row whose numbers print as hexadecimal, not as lists of bytes.
func readable(row snapshot.Row) any { return plain(reflect.ValueOf(row)) }

func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Array: // the numbers of a snapshot: 16 bytes
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return hex.EncodeToString(b)
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	case reflect.Struct:
		if text, ok := v.Interface().(interface{ MarshalText() ([]byte, error) }); ok {
			return text // addresses and prefixes
		}
		out := orderedJSON{}
		for i := range v.NumField() {
			out = append(out, fieldJSON{fieldName(v.Type().Field(i).Name), plain(v.Field(i))})
		}
		return out
	default:
		return v.Interface()
	}
}

// fieldName is a Go field's name as JSON writes it.
func fieldName(name string) string {
	if name == strings.ToUpper(name) {
		return strings.ToLower(name)
	}
	return strings.ToLower(name[:1]) + name[1:]
}

// orderedJSON is a JSON object whose fields keep their order.
type orderedJSON []fieldJSON

type fieldJSON struct {
	name  string
	value any
}

// MarshalJSON writes the fields in their order.
func (o orderedJSON) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range o {
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}
