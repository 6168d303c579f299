package campaign

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// errStrange says that a request is not as it should be. Other errors are those of a connection, which may end at any time.
var errStrange = errors.New("a request that is none of ours")

// request is what an endpoint reads of one.
type request struct {
	ids   []ID // in order
	batch bool // whether the body holds them, or the header the only one
	relay string
}

var (
	contentLength = []byte("content-length:")
	webhookID     = []byte("webhook-id:")
	relayName     = []byte("x-relay:")
)

func readRequest(in *bufio.Reader) (*request, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("POST ")) {
		return nil, fmt.Errorf("%w: request line %q", errStrange, line)
	}
	r, length := &request{}, -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if err := r.header(line, &length); err != nil {
			return nil, fmt.Errorf("%w: %w", errStrange, err)
		}
	}
	if length < 0 || len(r.ids) == 0 && !r.batch {
		return nil, fmt.Errorf("%w: without content-length or webhook-id", errStrange)
	}
	if r.batch {
		return r, r.events(in, length)
	}
	if _, err := in.Discard(length); err != nil {
		return nil, io.ErrUnexpectedEOF // cut in the middle: the sender was killed
	}
	return r, nil
}

func (r *request) header(line []byte, length *int) (err error) {
	if value, ok := header(line, contentLength); ok {
		*length, err = strconv.Atoi(string(value))
		return err
	}
	if value, ok := header(line, relayName); ok {
		r.relay = string(value)
		return nil
	}
	value, ok := header(line, webhookID)
	if !ok {
		return nil
	}
	if strings.HasPrefix(string(value), "batch_") {
		r.batch = true
		return nil
	}
	id, err := ParseID(string(value))
	r.ids = append(r.ids, id)
	return err
}

// events reads a body that is a batch of CloudEvents.
func (r *request) events(in *bufio.Reader, length int) error {
	body := make([]byte, length)
	if _, err := io.ReadFull(in, body); err != nil {
		return err
	}
	var events []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(body, &events); err != nil {
		return fmt.Errorf("%w: a batch: %w", errStrange, err)
	}
	for _, ev := range events {
		id, err := ParseID(ev.ID)
		if err != nil {
			return fmt.Errorf("%w: a batch: %w", errStrange, err)
		}
		r.ids = append(r.ids, id)
	}
	if len(r.ids) == 0 {
		return fmt.Errorf("%w: a batch of none", errStrange)
	}
	return nil
}

func header(line, name []byte) ([]byte, bool) {
	if len(line) < len(name) || !bytes.EqualFold(line[:len(name)], name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}
