package campaign

import (
	"fmt"
	"strconv"
)

// ID names an event: the writer that wrote it and the number it has there. A key belongs to one writer, and a writer
// commits one transaction after the other: so the numbers of a key's events are their commit order.
type ID uint64

// NewID returns the id of a writer's event.
func NewID(writer, seq int) ID { return ID(writer)<<32 | ID(seq) }

// Writer returns the number of the writer.
func (id ID) Writer() int { return int(id >> 32) }

// Seq returns the number of the event at its writer.
func (id ID) Seq() int { return int(id & 0xffffffff) }

// String returns the id as the uuid it has in the outbox.
func (id ID) String() string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", id.Writer(), id.Seq()) }

// ParseID reads what String writes.
func ParseID(text string) (ID, error) {
	if len(text) != 36 {
		return 0, fmt.Errorf("event id %q: not one of a writer", text)
	}
	writer, err := strconv.ParseUint(text[:8], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("event id %q: %w", text, err)
	}
	seq, err := strconv.ParseUint(text[24:], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("event id %q: %w", text, err)
	}
	return NewID(int(writer), int(seq)), nil
}
