package mapping

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// text returns the scalar's text, expanded, if its YAML type is one of the tags. Text with an expansion in it is of
// every type: ${WORKERS:-16} is a number. It reports what else it finds.
func (v value) text(expected string, tags ...string) (string, bool) {
	if v.about != nil {
		v.about.scalar(expected, tags)
		return "", false
	}
	if v.node.Kind != yaml.ScalarNode {
		v.failFound(expected)
		return "", false
	}
	tag := v.node.ShortTag()
	if tag == "!!str" && strings.Contains(v.node.Value, "$") {
		text, err := v.d.expand(v.node.Value)
		if err != nil {
			v.fail("%v", err)
		}
		return text, err == nil
	}
	if slices.Contains(tags, tag) {
		return v.node.Value, true
	}
	v.failFound(expected)
	return "", false
}

// str returns a string. Numbers and the like want quotes, lest 0123 or on become something else on the way.
func (v value) str(expected string) (string, bool) {
	if v.node.Kind == yaml.ScalarNode && !v.isNull() && v.node.ShortTag() != "!!str" {
		v.failFound(expected + " in quotes")
		return "", false
	}
	return v.text(expected, "!!str")
}

// nonEmpty stores a string that may not be empty.
func (v value) nonEmpty(to *string, expected string) bool {
	v.about.nonEmpty(*to)
	s, ok := v.str(expected)
	if ok && s == "" {
		v.fail("found an empty value, expected %s", expected)
		return false
	}
	if ok {
		*to = s
	}
	return ok
}

// integer stores a whole number of at least least.
func (v value) integer(to *int, least int) {
	expected := "a whole number of at least " + strconv.Itoa(least)
	v.about.integer(*to, least)
	s, ok := v.text(expected, "!!int")
	if !ok {
		return
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > math.MaxInt32 || len(s) > 1 && s[0] == '0' {
		v.failFound(expected)
		return
	}
	*to = n
}

// float stores a number that ok accepts.
func (v value) float(to *float64, expected string, accept func(float64) bool) {
	v.about.standard(*to)
	s, ok := v.text(expected, "!!int", "!!float")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) || !accept(f) {
		v.failFound(expected)
		return
	}
	*to = f
}

func (v value) boolean(to *bool) {
	v.about.standard(*to)
	s, ok := v.text("true or false", "!!bool")
	switch {
	case !ok:
	case strings.EqualFold(s, "true"):
		*to = true
	case strings.EqualFold(s, "false"):
		*to = false
	default:
		v.failFound("true or false")
	}
}

// duration stores a Go duration of at least least.
func (v value) duration(to *time.Duration, least time.Duration) {
	expected := "a duration such as 15s"
	v.about.duration(*to, least)
	s, ok := v.text(expected, "!!str", "!!int")
	if !ok {
		return
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		v.failFound(expected)
	case d < 0 && least == 0:
		v.failFound("a duration that is not negative")
	case d < least:
		v.failFound("a duration of at least " + least.String())
	default:
		*to = d
	}
}

// durationAbove stores a Go duration longer than limit.
func (v value) durationAbove(to *time.Duration, limit time.Duration) {
	was, n := *to, len(v.d.errs)
	v.about.above(limit)
	v.about.duration(was, limit)
	*to = limit
	v.duration(to, limit)
	if *to <= limit && len(v.d.errs) == n {
		v.failFound("a duration longer than " + limit.String())
	}
	if *to <= limit {
		*to = was
	}
}

var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"GiB", 1 << 30},
	{"KB", 1e3},
	{"kB", 1e3},
	{"MB", 1e6},
	{"GB", 1e9},
	{"B", 1},
	{"", 1},
}

// size stores a number of bytes of at least 1.
func (v value) size(to *int64) {
	expected := "a size such as 64MiB"
	v.about.size(*to)
	s, ok := v.text(expected, "!!str", "!!int")
	if !ok {
		return
	}
	for _, u := range byteUnits {
		digits, has := strings.CutSuffix(s, u.suffix)
		if !has {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n == 0 || n > uint64(math.MaxInt64/u.factor) {
			break
		}
		*to = int64(n) * u.factor
		return
	}
	v.failFound(expected)
}

// enum stores one of the words.
func (v value) enum(to *string, words ...string) {
	last := len(words) - 1
	expected := strings.Join(words[:last], ", ") + " or " + words[last]
	v.about.enum(*to, words)
	s, ok := v.str(expected)
	switch {
	case !ok:
	case slices.Contains(words, s):
		*to = s
	default:
		v.failFound(expected)
	}
}

// strings stores a list of strings that are not empty.
func (v value) strings(to *[]string, expected string) {
	items, ok := v.list("a list, each item " + expected)
	if !ok {
		return
	}
	list := []string{}
	for _, item := range items {
		var s string
		if item.nonEmpty(&s, expected) {
			list = append(list, s)
		}
	}
	*to = list
}
