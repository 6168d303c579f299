package cdc

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// errShort says that a message ends before what its own header announces.
var errShort = errors.New("message is shorter than it says")

// cursor reads a message field by field. The first read past the end sets err, and every later read returns zero, so
// that a caller may read a whole message and look at err once. Nothing it returns is copied.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) bytes(n int) []byte {
	if c.err != nil || n < 0 || n > len(c.rest) {
		c.fail()
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) fail() {
	if c.err == nil {
		c.err = errShort
	}
	c.rest = nil
}

func (c *cursor) uint8() uint8 {
	if b := c.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (c *cursor) uint16() uint16 {
	if b := c.bytes(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (c *cursor) uint32() uint32 {
	if b := c.bytes(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.bytes(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// text reads a string that ends with a zero byte.
func (c *cursor) text() []byte {
	n := bytes.IndexByte(c.rest, 0)
	if n < 0 {
		c.fail()
		return nil
	}
	b := c.bytes(n)
	c.bytes(1)
	return b
}
