package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"relay/cdc"
	"relay/delivery"
	"relay/delivery/park"
	"relay/mapping"
)

const (
	regainRetry = 200 * time.Millisecond
	gateWait    = 100 * time.Millisecond // for the server to answer again, or a lane to be suspended whose lease is over
)

// gate lets an attempt begin only while the lease is fresh by this process's own clock: nobody has to be told that it is
// over, which a process that was stopped, or whose network is cut, would learn too late.
type gate struct {
	delivery.Sender
	tenure *tenure
}

// Send is documented at delivery.Sender.
func (g *gate) Send(ctx context.Context, r *delivery.Request) delivery.Outcome {
	if g.tenure.lease.Load().Fresh() {
		return g.Sender.Send(ctx, r)
	}
	select {
	case <-ctx.Done():
	case <-time.After(gateWait):
	}
	return delivery.Outcome{Verdict: delivery.Aborted, Reason: delivery.ReasonAborted, Err: "the database does not say that this relay still is the one that delivers"}
}

func (t *tenure) newSender(ep *mapping.Endpoint) (delivery.Sender, error) {
	sender, err := t.relay.newSender(ep)
	if err != nil {
		return nil, err
	}
	return &gate{sender, t}, nil
}

// Why a tenure ends although nobody asked for it.
var (
	errTakenOver = errors.New("another relay delivers, since this one has lost its database connection")
	errMoved     = errors.New("another relay has delivered while this one had lost its database connection")
)

// regain waits for the lock after it was lost. It returns an error when this process may not go on with what it has in memory:
// another has the lock, or had it and saved a position, or the server is another one. While the database is away nobody delivers.
func (t *tenure) regain(ctx context.Context) error {
	t.suspended.Store(true)
	t.dispatcher.Suspend()
	t.relay.log.Warn("lost the database connection that makes this relay the only one to deliver, waiting for it")
	for ctx.Err() == nil {
		again, err := t.relock(ctx)
		switch {
		case errors.Is(err, errAway):
			select {
			case <-ctx.Done():
			case <-time.After(regainRetry):
			}
			continue
		case err != nil:
			return err
		}
		again()
		t.dispatcher.Resume()
		t.suspended.Store(false)
		t.relay.log.Info("delivering again")
		return nil
	}
	return nil
}

// errAway says that the lock could not be asked for.
var errAway = errors.New("the database is away")

// relock tries once. What it returns lets go of the lost lease, now that the new one is armed.
func (t *tenure) relock(ctx context.Context) (func(), error) {
	old := t.lease.Load()
	lease, err := t.relay.store.Relock(ctx, old)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAway, err)
	}
	if lease == nil {
		return nil, errTakenOver
	}
	err = t.resumable(ctx, old.Server, lease.Server)
	if err == nil {
		err = lease.Arm()
	}
	if err != nil {
		lease.Release()
		return nil, err
	}
	t.lease.Store(lease)
	return old.Release, nil
}

func (t *tenure) resumable(ctx context.Context, was, now park.Server) error {
	if was.System != now.System {
		return fmt.Errorf("the server is another database cluster (%s) than before (%s)", now.System, was.System)
	}
	if was != now {
		return cdc.Promotion(ctx, t.relay.cfg.Load().Source.URL, was.Timeline, t.stream.Status().Received)
	}
	same, err := t.unmoved(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errAway, err)
	case !same:
		return errMoved
	}
	return nil
}

// promoted returns a channel that is closed when the stream says that it cannot go on because the server is another one.
func (t *tenure) promoted(ctx context.Context) <-chan struct{} {
	seen := make(chan struct{})
	go func() {
		tick := time.NewTicker(slotLookout)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if cdc.Promoted(t.stream.Status().Err) {
				close(seen)
				return
			}
		}
	}()
	return seen
}

// abandon ends a tenure at once: what is in memory is somebody else's, or of a server that is no more. All of it that was not
// settled comes again, from what is saved.
func (t *tenure) abandon(err error) error {
	if s := t.stream.Status().Err; cdc.Promoted(s) {
		err = s
	}
	t.pump.close()
	t.dispatcher.Abandon()
	return fmt.Errorf("starting over: %w", err)
}
