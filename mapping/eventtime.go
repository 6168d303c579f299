package mapping

import "time"

// utcTime parses what Postgres writes for a timestamptz in a session whose zone is UTC, as ours is:
// "2026-01-02 03:04:05.678+00". It takes a fraction of what time.Parse does, once an event. Any other form is not ok.
func utcTime(text []byte) (t time.Time, ok bool) {
	const form = "0000-00-00 00:00:00"
	zone := len(text) - len("+00")
	if zone < len(form) || zone > len(form)+len(".000000") || string(text[zone:]) != "+00" {
		return t, false
	}
	for i := range form {
		if digit := text[i] - '0'; form[i] == '0' && digit > 9 || form[i] != '0' && text[i] != form[i] {
			return t, false
		}
	}
	number := func(from, to int) (n int) {
		for _, c := range text[from:to] {
			n = n*10 + int(c-'0')
		}
		return n
	}
	nanos, ok := fraction(text[len(form):zone])
	year, month, day := number(0, 4), number(5, 7), number(8, 10)
	hour, minute, second := number(11, 13), number(14, 16), number(17, 19)
	if !ok || year == 0 || month == 0 || month > 12 || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	return t, t.Day() == day // there is no 30th of February
}

// fraction returns what follows the seconds, in nanoseconds: nothing, or a dot and digits.
func fraction(text []byte) (nanos int, ok bool) {
	if len(text) == 0 {
		return 0, true
	}
	if text[0] != '.' || len(text) == 1 {
		return 0, false
	}
	unit := int(time.Second)
	for _, c := range text[1:] {
		if c < '0' || c > '9' {
			return 0, false
		}
		unit /= 10
		nanos += int(c-'0') * unit
	}
	return nanos, true
}
