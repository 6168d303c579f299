package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// drain measures how fast a backlog goes out. All runs of a scenario drain the same one, from slots made before it was
// written.
func (b *bench) drain(ctx context.Context, c *contender) (result, error) {
	if c.system == sysPoller {
		own, err := b.pollable(ctx, c)
		if err != nil {
			return result{}, err
		}
		defer func() { _ = b.drop(ctx, own) }() // it goes with the cluster at the latest
		c = &contender{system: c.system, slot: c.slot, db: own, scenario: c.scenario}
	}
	r, err := b.receiver(c, c.rows())
	if err != nil {
		return result{}, err
	}
	defer r.close()
	account := b.openAccount()
	p, err := b.startContender(c, r)
	if err != nil {
		return result{}, err
	}
	err = p.await(ctx, r.done, r.received)
	return b.over(p, c, r, account, err)
}

// over ends a run and takes what it showed.
func (b *bench) over(p *process, c *contender, r *receiver, account account, err error) (result, error) {
	res := result{deliveries: c.deliveries}
	account.close(&res)
	u, stopErr := p.stop(c.deliveries)
	if err := errors.Join(err, stopErr); err != nil {
		return result{}, err
	}
	if err := r.verdict(); err != nil {
		return result{}, err
	}
	res.usage = u
	// From the first receipt, so that starting is not counted, which needs no backlog to be measured, to the last answer, lest
	// what is under way at first counts as if it took no time.
	all := r.all()
	res.rate = float64(len(all)) / (elapsed(all) + c.delay).Seconds()
	res.least, res.most = shares(all, c.endpoints)
	return res, nil
}

func (b *bench) receiver(c *contender, events int) (*receiver, error) {
	cfg := receiverConfig{
		delay: c.delay, endpoints: c.endpoints, events: events, keys: c.keys, disorderly: c.system == sysPoller,
	}
	if c.tls {
		cfg.tls = b.authority.server
	}
	return receive(cfg)
}

// pollable gives the poller a database of its own with the same rows: it deletes them.
func (b *bench) pollable(ctx context.Context, c *contender) (*pgx.Conn, error) {
	db, err := b.database(ctx, c.slot)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, db, c.scenario); err != nil {
		return nil, err
	}
	_, err = db.Exec(ctx, "VACUUM ANALYZE outbox")
	return db, err
}
