package cdc

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// StreamConfig says what to stream and how to behave on the connection.
type StreamConfig struct {
	// URL is a libpq URL or keywords; PG* environment variables fill what it leaves out. Whether it is for replication
	// is added here.
	URL string

	Slot        string
	Publication string

	// Tables are the tables, "schema.table", that the publication has to contain before anything is streamed.
	Tables []string

	// Messages are the prefixes of the logical messages that are handed over.
	Messages []string

	// Start is where our own saved positions say to start, 0 where there are none. The slot's confirmed position is not
	// durable on the server's side, and may be older.
	Start LSN

	// System and Timeline are those of the server that Start was read from, where that is known: no other is streamed from.
	System   string
	Timeline int32

	// Exclusive says that nobody else may stream from the slot, which something outside sees to: a session of this role that
	// has the slot and has been silent for some seconds, of a process that was stopped or cut off, is ended. The server by
	// itself would take wal_sender_timeout.
	Exclusive bool

	// StatusInterval is how often the server hears from us when nothing else makes it. Default 1s.
	StatusInterval time.Duration

	// Silence is how long the server may send nothing, although asked to, before it is given up for dead. Default 60s.
	Silence time.Duration

	// Logger receives connection changes. Default slog.Default().
	Logger *slog.Logger
}

// Defaults of StreamConfig.
const (
	DefaultStatusInterval = time.Second
	DefaultSilence        = time.Minute
)

// StreamState says what a Stream does.
type StreamState string

// The states of a stream.
const (
	StateConnecting StreamState = "connecting" // not streaming: first attempt, or backing off after an error
	StateWaiting    StreamState = "waiting"    // the slot is in use elsewhere: standing by
	StateStreaming  StreamState = "streaming"
	StatePaused     StreamState = "paused"  // reads nothing more, confirms what becomes durable
	StateStopped    StreamState = "stopped" // Run has returned
)

// StreamStatus is a snapshot of a Stream.
type StreamStatus struct {
	State     StreamState
	Err       error     // the last error; nil while streaming
	Since     time.Time // when State began
	Received  LSN       // everything before it was received, or is of the transaction that a lost connection broke off
	Confirmed LSN       // everything before it is durable, and confirmed as soon as there is a connection
	ServerEnd LSN       // end of the server's WAL, as far as it told
	LastByte  time.Time // when the server was last heard, to about StatusInterval

	// Remade is how often the slot was lost and found again, so made by somebody, who may have left a gap: what is before it
	// was not all received, although Confirmed passes it.
	Remade int
}

// Stream reads the rows of a publication from a replication slot and hands them to a Consumer, over as many connections
// as it takes. What was handed over is not handed over again by the same Stream, and a transaction that a lost
// connection cut in two goes on with the same Tx.
type Stream struct {
	cfg      StreamConfig
	mark     *Watermark
	consumer Consumer
	log      *slog.Logger

	pause   sync.Once
	paused  chan struct{} // closed by Pause
	history history       // of the goroutine in Run

	mu     sync.Mutex
	status StreamStatus
}

// history is what outlives a connection.
type history struct {
	tables   map[uint32]*Table // as last described, so that an unchanged table keeps its pointer
	done     LSN               // commit of the last transaction handed over whole
	open     *openTx           // transaction handed over in part
	server   identity          // that was streamed from, and before that the one of StreamConfig.Start
	holder   holder            // who has had the slot
	streamed bool              // this process has streamed from it
	lost     bool              // the slot was gone since it was last streamed from
	ahead    error             // the server was once behind what is durable; it may have caught up with other WAL since
	told     LSN               // durable position that a server was told, over any connection
	cut      error             // what ended the last connection that streamed
}

// openTx is a transaction of which not everything was handed over yet.
type openTx struct {
	tx     *Tx
	commit LSN
	next   uint32 // ordinal of the first change not handed over
}

// next is the least place that was not handed over, as far as it is known.
func (h *history) next() Place {
	if h.open != nil {
		return Place{h.open.commit, h.open.next}
	}
	return Place{h.done, 0}
}

// NewStream returns a stream that moves mark and hands rows to c. Nothing happens before Run.
func NewStream(cfg StreamConfig, mark *Watermark, c Consumer) *Stream {
	if cfg.StatusInterval <= 0 {
		cfg.StatusInterval = DefaultStatusInterval
	}
	if cfg.Silence <= 0 {
		cfg.Silence = DefaultSilence
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Stream{
		cfg: cfg, mark: mark, consumer: c, log: cfg.Logger.With("slot", cfg.Slot),
		paused:  make(chan struct{}),
		history: history{tables: make(map[uint32]*Table), server: identity{cfg.System, cfg.Timeline}},
		status:  StreamStatus{State: StateConnecting, Since: time.Now()},
	}
}

// Run streams until ctx is done, and reconnects with back-off after every error. It returns nil when the last
// confirmation was sent and the connection closed in good order, or there was nothing to confirm, and an error, that of the last
// connection, when the slot may have missed what became durable last. It is called once.
func (s *Stream) Run(ctx context.Context) error {
	defer s.enter(StateStopped)
	retry := backoff{log: s.log}
	for {
		err := s.connection(ctx, &retry)
		if ctx.Err() != nil {
			return err
		}
		s.failed(err)
		if !retry.wait(ctx, err) {
			return s.untold()
		}
	}
}

// untold returns what ended the last connection if more has become durable than it was told, and nil otherwise.
func (s *Stream) untold() error {
	if s.mark.Durable() > s.history.told {
		return s.history.cut
	}
	return nil
}

// connection lives through one connection. It returns nil only when ctx is done.
func (s *Stream) connection(ctx context.Context, retry *backoff) error {
	n, err := openSession(ctx, s)
	if err != nil {
		if ctx.Err() != nil {
			return s.untold()
		}
		s.history.lost = s.history.lost || SlotLost(err)
		s.dislodge(ctx, err)
		return s.missing(err)
	}
	n.retry, n.began = retry, s.history.next()
	retry.streaming()
	s.enter(StateStreaming)
	err = n.run(ctx)
	n.prove(time.Now())
	s.history.cut = err
	return err
}

// Pause ends the reading for good. The stream goes on answering the server and confirming what becomes durable until
// the context of Run is done: the soft part of a stop.
func (s *Stream) Pause() { s.pause.Do(func() { close(s.paused) }) }

func (s *Stream) isPaused() bool {
	select {
	case <-s.paused:
		return true
	default:
		return false
	}
}

// Status returns a snapshot. It may be called from any goroutine.
func (s *Stream) Status() StreamStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status
	status.Confirmed = s.mark.Durable()
	return status
}

func (s *Stream) enter(state StreamState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == StateStreaming {
		s.status.Err = nil
	}
	s.status.enter(state)
}

func (s *StreamStatus) enter(state StreamState) {
	if s.State != state {
		s.State, s.Since = state, time.Now()
	}
}

func (s *Stream) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.enter(map[bool]StreamState{true: StateWaiting, false: StateConnecting}[isFault(err, FaultSlotActive)])
	s.status.Err = err
}

func (s *Stream) noteRemade() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Remade++
}

func (s *Stream) progress(received, serverEnd LSN, heard time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Received = max(s.status.Received, received)
	s.status.ServerEnd = max(s.status.ServerEnd, serverEnd)
	s.status.LastByte = heard
}
