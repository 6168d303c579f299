package cdc

// Consumer takes rows from a Stream. Its methods are called by the one goroutine that owns the replication connection,
// in commit order, and must not block: the same goroutine answers the server's status requests.
type Consumer interface {
	// Room returns nil when a row may be handed over now, or a channel that is closed when there may be room again. While
	// it waits the stream reads nothing more and keeps answering status.
	Room() <-chan struct{}

	// Row takes a row, which belongs to the consumer from then on. The consumer calls row.Tx.Add for the work it opens
	// before it returns, and row.Tx.Settle as each piece becomes durable. An error stops the stream at this row, which is
	// not counted as handed over and comes again when the stream has reconnected with back-off; after Pause it comes no more.
	Row(row *Row) error

	// Commit says that every row of the transactions before end has been handed over, and end is where a
	// confirmation of them would point.
	Commit(end LSN)
}
