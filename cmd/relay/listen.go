package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// receiver is a development endpoint: it prints what arrives, and fails on request.
type receiver struct {
	verify *verifier     // nil: any signature does
	fail   float64       // share of requests answered 503
	delay  time.Duration // before each answer

	mu  sync.Mutex // one request's lines stay together
	out *console
}

// received is one line of relay listen --json.
type received struct {
	Time        time.Time       `json:"time"`
	ID          string          `json:"id"`
	Status      int             `json:"status"`
	Problem     string          `json:"problem,omitempty"`
	ContentType string          `json:"content_type"`
	Body        json.RawMessage `json:"body,omitempty"`
	Text        string          `json:"text,omitempty"` // of a body that is not JSON
}

// maxReceived is the most of a body that the development receiver reads.
const maxReceived = 16 << 20

func newListenCommand(c *console) *cobra.Command {
	r := &receiver{out: c}
	var port int
	var host, secret string
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Receive webhooks on this machine and print them",
		Long: `A receiver for development: point an endpoint's url at it. With --secret it verifies the signature and
answers 401 to a wrong one. --fail and --delay let you see what relay makes of a bad endpoint.`,
		Example: `  relay listen
  relay listen --port 4000 --secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
  relay listen --fail 0.2 --delay 50ms`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.fail < 0 || r.fail > 1 {
				return usagef("--fail %v: want a share from 0 to 1", r.fail)
			}
			if secret != "" {
				v, err := newVerifier(secret)
				if err != nil {
					return usagef("--secret: %w", err)
				}
				r.verify = v
			}
			return r.listen(cmd.Context(), net.JoinHostPort(host, strconv.Itoa(port)))
		},
	}
	cmd.Flags().IntVar(&port, "port", 4000, "TCP `port`; 0 takes a free one")
	cmd.Flags().StringVar(&host, "host", "127.0.0.1", "`address` to listen at")
	cmd.Flags().StringVar(&secret, "secret", "", "whsec_, whsk_ or whpk_ `secret` to verify signatures with")
	cmd.Flags().Float64Var(&r.fail, "fail", 0, "`share` of requests to answer 503")
	cmd.Flags().DurationVar(&r.delay, "delay", 0, "time to take for each answer")
	return cmd
}

func (r *receiver) listen(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	r.out.note("listening at http://%s, until Ctrl-C\n", l.Addr())
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("receive: %w", err)
	}
	return nil
}

// ServeHTTP answers and prints one request.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxReceived))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusRequestEntityTooLarge)
		return
	}
	select {
	case <-time.After(r.delay):
	case <-req.Context().Done():
		return
	}
	got := r.judge(req, body)
	r.print(got)
	w.WriteHeader(got.Status)
}

func (r *receiver) judge(req *http.Request, body []byte) received {
	got := received{
		Time: time.Now().UTC(), ID: req.Header.Get("Webhook-Id"), Status: http.StatusOK,
		ContentType: req.Header.Get("Content-Type"),
	}
	if json.Valid(body) {
		got.Body = body
	} else {
		got.Text = string(body)
	}
	if r.verify != nil {
		if err := r.verify.Verify(req.Header, body, got.Time); err != nil {
			got.Status, got.Problem = http.StatusUnauthorized, err.Error()
			return got
		}
	}
	if rand.Float64() < r.fail {
		got.Status, got.Problem = http.StatusServiceUnavailable, "failed, as --fail asks"
	}
	return got
}

func (r *receiver) print(got received) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.out.json {
		line, err := json.Marshal(got) // one line each, for jq and the like
		if err == nil {
			r.out.printf("%s\n", line)
		}
		return
	}
	colour := green
	if got.Status != http.StatusOK {
		colour = red
	}
	r.out.printf("%s  %s  %s  %s\n", got.Time.Format("15:04:05.000"), r.out.paint(colour, strconv.Itoa(got.Status)), got.ID, got.Problem)
	if got.Body != nil {
		r.out.printf("  %s\n", got.Body) // valid JSON holds no control characters
		return
	}
	r.out.printf("  %q\n", got.Text)
}
