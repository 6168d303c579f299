package delivery

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"relay/mapping"
)

const (
	errLimit     = 500 // bytes of Outcome.Err
	shortestKept = 6   // shorter values are too common to be looked for
)

// text returns what an endpoint or the network said, fit to be stored and shown: one line, short, and without the secrets
// of the configuration, which an endpoint may well repeat.
func (c *Client) text(s string) string { return oneLine(c.secrets.Replace(s)) }

// oneLine returns s without control characters and superfluous space, cut to errLimit.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	s = strings.TrimSuffix(s, ":")
	if len(s) <= errLimit {
		return s
	}
	const dots = "…"
	cut := errLimit - len(dots)
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + dots
}

// secretsOf returns a replacer of what must not be shown: credentials, header values, and the URL's path and query.
func secretsOf(ep *mapping.Endpoint, u *url.URL) *strings.Replacer {
	hide := []string{ep.Auth.Bearer, ep.URL, u.RequestURI(), u.Path, u.RawQuery}
	if ep.Auth.Basic != nil {
		hide = append(hide, ep.Auth.Basic.Password)
	}
	if ep.Auth.OAuth2 != nil {
		hide = append(hide, ep.Auth.OAuth2.ClientSecret)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		hide = append(hide, password, u.User.Username(), u.User.String())
	}
	if auth := authorization(ep.Auth, u.User); auth != "" {
		_, credentials, _ := strings.Cut(auth, " ")
		hide = append(hide, credentials)
	}
	for _, values := range u.Query() {
		hide = append(hide, values...)
	}
	for _, h := range ep.Headers {
		hide = appendToken(hide, h[1])
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		hide = appendToken(hide, part)
	}
	return strings.NewReplacer(pairs(hide)...)
}

const (
	echoRun  = 16      // shorter runs may well be the name of a field, which helps to mend it
	echoBody = 8 << 10 // most of a body that is compared
)

// withoutEcho hides what an endpoint repeats of the payload: what customers are sent is not for logs.
func withoutEcho(text, body []byte) string {
	body = body[:min(len(body), echoBody)]
	var b strings.Builder
	for i := 0; i < len(text); {
		n := echoRun
		if i+n > len(text) || !bytes.Contains(body, text[i:i+n]) {
			b.WriteByte(text[i])
			i++
			continue
		}
		for i+n < len(text) && bytes.Contains(body, text[i:i+n+1]) {
			n++
		}
		b.WriteString("[payload]")
		i += n
	}
	return b.String()
}

// appendToken appends a value that may be a secret if it is too long to be a word.
func appendToken(hide []string, s string) []string {
	const word = 12
	if len(s) <= word {
		return hide
	}
	return append(hide, s)
}

// pairs returns each value long enough and [hidden]; the longest first, since the first that matches wins.
func pairs(hide []string) []string {
	slices.SortFunc(hide, func(a, b string) int { return len(b) - len(a) })
	var out []string
	for _, s := range hide {
		if len(s) >= shortestKept {
			out = append(out, s, "[hidden]")
		}
	}
	return out
}
