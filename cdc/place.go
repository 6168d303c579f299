package cdc

import (
	"cmp"

	"github.com/jackc/pglogrepl"
)

// LSN is a byte position in the write-ahead log. Compare it as a number; its text form ("0/16B3748") does not sort.
type LSN = pglogrepl.LSN

// Place is where a change stands in commit order: the start LSN of its transaction's commit record and the number of
// the change within that transaction, counting rows and logical messages from 0. Unlike the WAL position of the change
// itself it is unique (rows of one COPY share theirs) and monotonic in the order the server streams.
type Place struct {
	Commit  LSN
	Ordinal uint32
}

// Compare returns -1, 0 or +1 as p comes before, at or after q in commit order.
func (p Place) Compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Commit, q.Commit), cmp.Compare(p.Ordinal, q.Ordinal))
}

// Before reports whether p comes before q in commit order.
func (p Place) Before(q Place) bool { return p.Compare(q) < 0 }

// Next returns the place after p in the same transaction. Whether a change stands there is not known to p.
func (p Place) Next() Place { return Place{p.Commit, p.Ordinal + 1} }

// String returns 16 hex digits of the commit LSN, a dot and 8 hex digits of the ordinal, so that places of one cluster
// sort as text. It is the CloudEvents "sequence" attribute of an event.
func (p Place) String() string {
	var text [16 + 1 + 8]byte
	putHex(text[:16], uint64(p.Commit))
	text[16] = '.'
	putHex(text[17:], uint64(p.Ordinal))
	return string(text[:])
}

// putHex fills b with the last hex digits of n.
func putHex(b []byte, n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789ABCDEF"[n&0xf]
		n >>= 4
	}
}
