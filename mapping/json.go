package mapping

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string. Unlike encoding/json it leaves <, > and & alone; like it, it makes U+2028 and
// U+2029 safe for JavaScript and replaces what is not UTF-8.
func appendString[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			switch {
			case r == utf8.RuneError && size == 1:
				b = append(b, `\ufffd`...)
			case r == '\u2028' || r == '\u2029':
				b = append(b, `\u202`...)
				b = append(b, hexDigits[r&0xf])
			default:
				b = append(b, s[i:i+size]...)
			}
			i += size
			continue
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&0xf])
		default:
			b = append(b, c)
		}
		i++
	}
	return append(b, '"')
}

// appendTime appends a time as RFC 3339 in UTC, without trailing zeros.
func appendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, time.RFC3339Nano) }

// appendValue appends a CEL value as compact JSON with sorted keys.
func appendValue(b []byte, val ref.Val) ([]byte, error) {
	switch v := val.(type) {
	case types.Bool:
		return strconv.AppendBool(b, bool(v)), nil
	case types.Int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case types.Uint:
		return strconv.AppendUint(b, uint64(v), 10), nil
	case types.Double:
		return appendFloat(b, float64(v))
	case types.String:
		return appendString(b, string(v)), nil
	case types.Bytes:
		return appendBase64(b, v), nil
	case types.Null:
		return append(b, "null"...), nil
	case types.Timestamp:
		return append(appendTime(append(b, '"'), v.Time), '"'), nil
	case types.Duration:
		return appendString(b, strconv.FormatFloat(v.Seconds(), 'f', -1, 64)+"s"), nil
	case eventVal:
		return appendNative(b, v.ev.native())
	case *types.Optional:
		if !v.HasValue() {
			return append(b, "null"...), nil
		}
		return appendValue(b, v.GetValue())
	}
	switch val.Value().(type) {
	case map[string]any, []any: // a part of the payload as it is: numbers keep all their digits
		return appendNative(b, val.Value())
	}
	switch v := val.(type) {
	case traits.Mapper:
		return appendMap(b, v)
	case traits.Lister:
		return appendList(b, v)
	}
	return nil, fmt.Errorf("gives a value of type %s, which JSON cannot hold", val.Type().TypeName())
}

func appendList(b []byte, list traits.Lister) (_ []byte, err error) {
	b = append(b, '[')
	for i, it := 0, list.Iterator(); it.HasNext() == types.True; i++ {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, it.Next()); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, m traits.Mapper) (_ []byte, err error) {
	type member struct {
		name  string
		value ref.Val
	}
	var members []member
	for it := m.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.ConvertToType(types.StringType).(types.String)
		if !ok {
			return nil, fmt.Errorf("gives a map with a key of type %s, which JSON cannot hold", key.Type().TypeName())
		}
		members = append(members, member{string(name), m.Get(key)})
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	b = append(b, '{')
	for i, mem := range members {
		if i > 0 {
			b = append(b, ',')
			if mem.name == members[i-1].name {
				return nil, fmt.Errorf("gives a map with two keys %q", shorten(mem.name))
			}
		}
		b = append(appendString(b, mem.name), ':')
		if b, err = appendValue(b, mem.value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendNative appends what encoding/json decoded, or a CEL value in it.
func appendNative(b []byte, value any) (_ []byte, err error) {
	switch v := value.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		return append(b, v...), nil
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendNative(b, item); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, name), ':')
			if b, err = appendNative(b, v[name]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	return appendValue(b, types.DefaultTypeAdapter.NativeToValue(value))
}

var errNotFinite = errors.New("gives a number that is not finite, which JSON cannot hold")

// appendFloat writes a number as encoding/json does: without an exponent where that is no longer than 21 digits.
func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return nil, errNotFinite
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, f, format, -1, 64), nil
}

func appendBase64(b []byte, data []byte) []byte {
	b = slices.Grow(b, base64.StdEncoding.EncodedLen(len(data))+2)
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), data), '"')
}
