package wire

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var (
	// ErrUnknownField: a message has a field that this version does not know.
	ErrUnknownField = errors.New("unknown field")
	// ErrProtocol: a message came where the protocol has no place for it.
	ErrProtocol = errors.New("protocol violated")
)

// Strict refuses a message that has an unknown field anywhere: what is not
// understood might be what matters.
func Strict(m proto.Message) error {
	return strict(m.ProtoReflect())
}

func strict(m protoreflect.Message) error {
	if len(m.GetUnknown()) > 0 {
		return fmt.Errorf("message %s: %w", m.Descriptor().Name(), ErrUnknownField)
	}
	var err error
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case field.Kind() != protoreflect.MessageKind:
		case field.IsList():
			for i := 0; i < v.List().Len() && err == nil; i++ {
				err = strict(v.List().Get(i).Message())
			}
		default:
			err = strict(v.Message())
		}
		return err == nil
	})
	return err
}
