package delivery

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
)

// failed returns the outcome of an attempt without a complete answer.
func (a *attempt) failed(err error) Outcome {
	if a.parent.Err() != nil {
		return Outcome{Verdict: Aborted, Reason: ReasonAborted, Err: "the relay ended the attempt"}
	}
	o := Outcome{Verdict: Failed, Err: a.client.text(err.Error())}
	switch denied, isDenied := errors.AsType[*DeniedError](err); {
	case isDenied:
		o.Verdict, o.Reason, o.Err = Denied, ReasonDenied, denied.Error()
	case a.late():
		o.Reason, o.Err = ReasonTimeout, a.lateText()
	default:
		o.Reason = reasonOf(err)
	}
	if o.Reason == ReasonReset && a.reused && !a.answering {
		// Most likely the endpoint closed the connection for having been idle just as the request was on its way. It is
		// an attempt, as the request may have been processed, but says nothing of how the endpoint is.
		o.Reason = ReasonStale
	}
	return o
}

// tokenFailed returns the outcome of an attempt that had no token to show.
func (a *attempt) tokenFailed(err error) Outcome {
	o := a.failed(err)
	if o.Verdict == Failed {
		o.Reason = ReasonAuth
		o.Err = a.client.text(err.Error())
	}
	return o
}

func (a *attempt) lateText() string {
	if !a.connected {
		return "no connection within " + a.client.timeout.String()
	}
	return "no complete answer within " + a.client.timeout.String()
}

// reasonOf sorts the transport's errors. What it cannot place is something that is not HTTP.
func reasonOf(err error) Reason {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return ReasonDNS
	}
	if isTLS(err) {
		return ReasonTLS
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		if op.Timeout() {
			return ReasonTimeout
		}
		return ReasonConnect
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return ReasonTimeout
	}
	if isReset(err) {
		return ReasonReset
	}
	return ReasonProtocol
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return true
	}
	text := err.Error()
	return strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ")
}

func isReset(err error) bool {
	for _, target := range []error{
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, net.ErrClosed,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	// net/http has no types for these: an idle connection closed, an HTTP/2 stream reset, a server that says goodbye.
	text := err.Error()
	for _, part := range []string{"server closed idle connection", "stream error: ", "GOAWAY", "connection lost"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
