package delivery

// Reason says in a word what came of an attempt. The list is closed: it is the metric label.
type Reason string

// The reasons.
const (
	ReasonOK        Reason = "ok"        // 2xx
	ReasonRedirect  Reason = "redirect"  // 3xx, which is never followed
	ReasonRejected  Reason = "rejected"  // 400, 413, 415 or 422: the request itself is refused
	ReasonClient    Reason = "http_4xx"  // any other 4xx, which may pass
	ReasonGone      Reason = "gone"      // 410
	ReasonThrottled Reason = "throttled" // 429
	ReasonServer    Reason = "http_5xx"  // 5xx
	ReasonTimeout   Reason = "timeout"   // no complete answer in time, from connecting to its last byte
	ReasonDNS       Reason = "dns"       // the name was not resolved
	ReasonConnect   Reason = "connect"   // no connection: refused, unreachable
	ReasonTLS       Reason = "tls"       // no agreement on TLS, or a certificate that is not trusted
	ReasonReset     Reason = "reset"     // the connection ended before the answer did
	ReasonStale     Reason = "stale"     // a kept-alive connection turned out to be closed as the request was written
	ReasonProtocol  Reason = "protocol"  // what came back is not HTTP
	ReasonAuth      Reason = "auth"      // no OAuth2 token to be had
	ReasonDenied    Reason = "denied"    // the address is outside the endpoint's network
	ReasonInvalid   Reason = "invalid"   // the event cannot be put into a request
	ReasonAborted   Reason = "aborted"   // the relay itself ended the attempt
)

// AllReasons returns every reason there is, for metrics that want to start at zero.
func AllReasons() []Reason {
	return []Reason{
		ReasonOK, ReasonRedirect, ReasonRejected, ReasonClient, ReasonGone, ReasonThrottled, ReasonServer,
		ReasonTimeout, ReasonDNS, ReasonConnect, ReasonTLS, ReasonReset, ReasonStale, ReasonProtocol, ReasonAuth,
		ReasonDenied, ReasonInvalid, ReasonAborted,
	}
}
