package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// eventTypeName is CEL's name for the type of `event`.
const eventTypeName = "relay.Event"

var (
	eventType   = types.NewObjectType(eventTypeName)
	eventFields = []string{"id", "type", "key", "time", "headers", "table"}
)

// celEnv returns the environment of all expressions. The versions of the libraries are pinned, so that an update of
// cel-go does not change what a file may say.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(eventProvider{registry}),
		cel.Variable("event", eventType),
		cel.Variable("payload", cel.DynType),
		cel.Variable("row", cel.MapType(cel.StringType, cel.NullableType(cel.StringType))),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		ext.Strings(ext.StringsVersion(4)),
		ext.Encoders(ext.EncodersVersion(0)),
	)
})

// eventProvider adds the event's type to CEL's own.
type eventProvider struct{ *types.Registry }

// FindStructType knows the event's type.
func (p eventProvider) FindStructType(name string) (*types.Type, bool) {
	if name == eventTypeName {
		return types.NewTypeTypeWithParam(eventType), true
	}
	return p.Registry.FindStructType(name)
}

// FindStructFieldNames returns the event's fields.
func (p eventProvider) FindStructFieldNames(name string) ([]string, bool) {
	if name == eventTypeName {
		return eventFields, true
	}
	return p.Registry.FindStructFieldNames(name)
}

// FindStructFieldType returns type and getter of a field of the event.
func (p eventProvider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name != eventTypeName {
		return p.Registry.FindStructFieldType(name, field)
	}
	if !slices.Contains(eventFields, field) {
		return nil, false
	}
	t := cel.StringType
	switch field {
	case "key":
		t = cel.NullableType(cel.StringType)
	case "time":
		t = cel.TimestampType
	case "headers":
		t = cel.MapType(cel.StringType, cel.StringType)
	}
	return &types.FieldType{
		Type:    t,
		IsSet:   func(target any) bool { return field != "key" || target.(*Event).Keyed },
		GetFrom: func(target any) (any, error) { return target.(*Event).field(field), nil },
	}, true
}

// field returns a field of the event as expressions see it.
func (ev *Event) field(name string) any {
	switch name {
	case "id":
		return ev.ID
	case "type":
		return ev.Type
	case "key":
		if !ev.Keyed {
			return nil
		}
		return ev.Key
	case "time":
		return ev.Time
	case "headers":
		return ev.attributes()
	default:
		return ev.Table
	}
}

// eventVal is an event as a CEL value, for expressions that take it as a whole.
type eventVal struct{ ev *Event }

// ConvertToNative is not for events.
func (v eventVal) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("an event has no other form")
}

// ConvertToType returns the event's type, or an error.
func (v eventVal) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return eventType
	}
	return types.NewErr("type conversion error from '%s' to '%s'", eventTypeName, t.TypeName())
}

// Equal compares identities: an expression sees one event.
func (v eventVal) Equal(other ref.Val) ref.Val {
	o, ok := other.(eventVal)
	return types.Bool(ok && o.ev == v.ev)
}

// Type returns the event's type.
func (v eventVal) Type() ref.Type { return eventType }

// Value returns the event, for the getters of its fields.
func (v eventVal) Value() any { return v.ev }

// Get returns a field of an event whose type an expression has forgotten, as in dyn(event).id.
func (v eventVal) Get(index ref.Val) ref.Val {
	name, ok := index.Value().(string)
	if !ok || !slices.Contains(eventFields, name) {
		return types.NewErr("no such field: %v", index)
	}
	return types.DefaultTypeAdapter.NativeToValue(v.ev.field(name))
}

// activation gives an expression its variables, and makes each when it is first asked for. It serves the expressions of
// all endpoints on one event, in one goroutine.
type activation struct {
	ev      *Event
	payload any
	parsed  bool
	row     map[string]any
	err     error // of the payload
}

// ResolveName returns a variable.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return eventVal{a.ev}, true
	case "payload":
		if !a.parsed {
			a.parsed = true
			a.payload, a.err = parsePayload(a.ev)
		}
		if a.err != nil {
			return types.WrapErr(a.err), true
		}
		return a.payload, true
	case "row":
		if a.row == nil {
			a.row = a.ev.rowMap()
		}
		return a.row, true
	}
	return nil, false
}

// Parent returns nil: there is one scope.
func (a *activation) Parent() cel.Activation { return nil }

func (ev *Event) rowMap() map[string]any {
	row := make(map[string]any, len(ev.Columns))
	for i, name := range ev.Columns {
		row[name] = nil
		if i < len(ev.Values) && ev.Values[i] != nil {
			row[name] = string(ev.Values[i])
		}
	}
	return row
}

// errNotJSON is why an event cannot be rendered where its payload must be JSON.
var errNotJSON = errors.New("payload is not JSON")

// parsePayload parses a JSON payload. Numbers keep their digits until an expression computes with them.
func parsePayload(ev *Event) (any, error) {
	if ev.Payload == nil {
		return nil, errors.New("payload is NULL")
	}
	dec := json.NewDecoder(bytes.NewReader(ev.Payload))
	dec.UseNumber()
	var payload any
	if err := dec.Decode(&payload); err != nil {
		return nil, fmt.Errorf("%w: %v", errNotJSON, err) //nolint:errorlint // one cause to branch on is enough
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) { // More is false before a stray bracket too
		return nil, errNotJSON
	}
	return payload, nil
}
