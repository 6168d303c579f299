package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// liveSuffix tells the slot of the live run from that of the one that parks.
const liveSuffix = "_live"

// park measures how fast events are parked for a paused endpoint, and drained when it is resumed, next to live delivery
// of the same backlog.
func (b *bench) park(ctx context.Context, c *contender) (result, error) {
	live := *c
	live.slot += liveSuffix
	l, err := b.drain(ctx, &live)
	if err != nil {
		return result{}, fmt.Errorf("live: %w", err)
	}
	if err := dropSlot(ctx, &live); err != nil {
		return result{}, err
	}
	res, err := b.parkOne(ctx, c)
	res.live = l.rate
	return res, err
}

func (b *bench) parkOne(ctx context.Context, c *contender) (result, error) {
	r, err := b.receiver(c, c.rows())
	if err != nil {
		return result{}, err
	}
	defer r.close()
	c.paused = true
	account := b.openAccount()
	p, err := b.startContender(c, r)
	if err != nil {
		return result{}, err
	}
	var rate float64
	if err = p.streaming(ctx, c); err == nil {
		rate, err = p.awaitParked(ctx, c.rows())
	}
	if err == nil {
		err = b.resume(c, p, r)
	}
	if err == nil {
		err = p.await(ctx, r.done, r.received)
	}
	res, err := b.over(p, c, r, account, err)
	res.parking = rate
	return res, err
}

// resume has the relay deliver to its paused endpoint.
func (b *bench) resume(c *contender, p *process, r *receiver) error {
	c.paused = false
	if _, err := b.configure(c, c.urls(r.base()), p.admin); err != nil {
		return err
	}
	return p.cmd.Process.Signal(syscall.SIGHUP)
}

// awaitParked returns when all rows are parked, and how many were a second once it had begun.
func (p *process) awaitParked(ctx context.Context, rows int) (float64, error) {
	began, before, last := time.Now(), 0.0, 0.0
	for deadline := time.Now().Add(stall); ; {
		now := p.sample().parked
		if int(now) >= rows {
			return (now - before) / time.Since(began).Seconds(), nil
		}
		if last == 0 && now > 0 {
			began, before = time.Now(), now
		}
		if now > last {
			last, deadline = now, time.Now().Add(stall)
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("parking stands still after %.0f events\n%s", now, p.said())
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-p.exited:
			return 0, p.end()
		case <-time.After(100 * time.Millisecond): // its metrics are all it tells
		}
	}
}
