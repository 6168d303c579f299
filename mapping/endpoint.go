package mapping

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"time"
)

// Endpoint is one subscriber: what it wants, how it wants it and how it is treated. It is immutable.
type Endpoint struct {
	Name  string
	Index int // its place in Config.Endpoints

	Line, Column int // where the file names it

	URL     string
	Events  []Pattern   // any of them
	Where   *Expression // nil: every event
	Body    *Expression // nil: the payload
	Format  Format
	Source  string // CloudEvents source; empty: /relay/<slot>/<schema>.<table>
	Secrets []Secret
	Headers [][2]string // canonical names, in the order of the file
	Auth    Auth
	TLS     TLS

	Timeout     time.Duration
	Concurrency int
	Rate        float64 // attempts a second; 0: unlimited
	Order       Order
	Batch       Batch
	Retry       Retry
	Breaker     Breaker
	Network     Network
	Paused      bool

	slot string // for the default source
	hash string
}

// Hash identifies everything the file says of the endpoint, secrets and the contents of files included. Two endpoints
// of the same hash are the same endpoint, whatever their place in the file.
func (e *Endpoint) Hash() string { return e.hash }

// Format is how an event becomes a request.
type Format string

// The formats.
const (
	FormatStandard          Format = "standard"           // {"type":…,"timestamp":…,"data":…} of Standard Webhooks
	FormatRaw               Format = "raw"                // the payload
	FormatCloudEvents       Format = "cloudevents"        // structured JSON
	FormatCloudEventsBinary Format = "cloudevents-binary" // the payload, attributes in ce-* headers
	FormatCloudEventsBatch  Format = "cloudevents-batch"  // a JSON array of structured events
)

// Order is which deliveries wait for which.
type Order string

// The orders.
const (
	OrderKey    Order = "key"    // the events of one key, in commit order
	OrderStrict Order = "strict" // one at a time, all in commit order
	OrderNone   Order = "none"
)

// Auth is how the relay authenticates itself to an endpoint; at most one field is set.
type Auth struct {
	Bearer string
	Basic  *Basic
	OAuth2 *OAuth2
}

// String hides the credentials.
func (Auth) String() string { return "[secret]" }

// GoString hides the credentials.
func (Auth) GoString() string { return "[secret]" }

// LogValue hides the credentials.
func (Auth) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Basic is HTTP basic authentication.
type Basic struct {
	Username, Password string
}

// OAuth2 is the client credentials grant.
type OAuth2 struct {
	TokenURL, ClientID, ClientSecret string
	Scopes                           []string
}

// TLS is what an endpoint's TLS connections use besides the system's roots.
type TLS struct {
	CAFile, CertFile, KeyFile string
	ServerName                string

	Roots       *x509.CertPool   // of CAFile, as it was at load; nil: the system's
	Certificate *tls.Certificate // of CertFile and KeyFile, as they were at load; nil: none

	ca, cert, key []byte // the files' contents
}

// Batch is how many events share a request.
type Batch struct {
	Events int
	Bytes  int64
	Wait   time.Duration // how long to wait for a batch to fill
}

// Retry is how often and how long a delivery is attempted.
type Retry struct {
	Delays   []time.Duration
	MaxAge   time.Duration
	Rejected int // tries in all of a delivery that the endpoint rejects
}

// Breaker is when an endpoint is left alone.
type Breaker struct {
	Failures      int     // consecutive ones that open it
	Ratio         float64 // share of failures that opens it, of at least Requests within Window
	Requests      int
	Window        time.Duration
	Open, MaxOpen time.Duration // first and longest time it stays open
	Probes        int
}

// Network is which addresses an endpoint may resolve to. The zero value is any.
type Network struct {
	Public bool           // no private, loopback, link-local or metadata addresses
	Allow  []netip.Prefix // only these; empty: no restriction
}
