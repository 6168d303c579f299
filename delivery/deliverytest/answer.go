package deliverytest

import (
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Answer is what a script wants done with a request. The zero Answer is an empty 200.
type Answer struct {
	Status int // 0: 200
	Header http.Header
	Body   string

	Delay   time.Duration // before the answer
	Hang    bool          // no answer at all, until the caller or the endpoint goes away
	Stall   bool          // after the body, hang instead of ending it
	Endless bool          // the body is repeated until the caller goes away; needs a Body
	Cut     Cut           // where to close the connection
	Raw     string        // written instead of an answer, whatever it is, before closing; HTTP/1.1 only
}

// Cut is where the connection is closed in an answer.
type Cut int

// The places to cut an answer. Over HTTP/2 all but CutBody reset the stream before an answer.
const (
	CutNowhere Cut = iota
	CutAtOnce      // before a byte of it
	CutHeader      // in its header
	CutBody        // in its body
)

// Script says how to answer a request. Several goroutines call it at once.
type Script func(Receipt) Answer

// Always answers every request with the status.
func Always(status int) Script { return func(Receipt) Answer { return Answer{Status: status} } }

// Statuses answers the first request with the first status, and so on; the last status is repeated.
func Statuses(statuses ...int) Script {
	return func(r Receipt) Answer { return Answer{Status: statuses[min(r.N, len(statuses)-1)]} }
}

// Answers answers the first request with the first answer, and so on; the last answer is repeated.
func Answers(answers ...Answer) Script {
	return func(r Receipt) Answer { return answers[min(r.N, len(answers)-1)] }
}

// write carries out the answer. It returns early when gone is closed.
func (a Answer) write(w http.ResponseWriter, r *http.Request, gone <-chan struct{}) {
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-gone:
		}
	}
	if a.Hang {
		hang(r, gone)
		panic(http.ErrAbortHandler)
	}
	if a.Raw != "" || a.Cut == CutAtOnce || a.Cut == CutHeader {
		a.writeRaw(w)
		return
	}
	a.writeAnswer(w, r, gone)
}

func (a Answer) writeAnswer(w http.ResponseWriter, r *http.Request, gone <-chan struct{}) {
	maps.Copy(w.Header(), a.Header)
	if a.Cut == CutBody {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)+1))
	}
	w.WriteHeader(max(a.Status, http.StatusOK))
	_, err := w.Write([]byte(a.Body))
	flush(w)
	for a.Endless && err == nil && !closed(gone) {
		_, err = w.Write([]byte(a.Body))
	}
	if a.Stall {
		hang(r, gone)
	}
	if a.Cut == CutBody {
		panic(http.ErrAbortHandler)
	}
}

// writeRaw takes the connection from the server and closes it, after what is to come before that.
func (a Answer) writeRaw(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer closeConn(conn)
	switch {
	case a.Raw != "":
		_, _ = conn.Write([]byte(a.Raw))
	case a.Cut == CutHeader:
		_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Le"))
	}
}

func closeConn(conn net.Conn) { _ = conn.Close() }

func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

func hang(r *http.Request, gone <-chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-gone:
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
