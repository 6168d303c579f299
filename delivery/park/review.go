package park

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"relay/delivery"
)

// Review is documented at delivery.Parker.
func (s *Store) Review(ctx context.Context, endpoint string, ids []int64) ([]delivery.Parked, error) {
	found, err := s.query(ctx, `SELECT d.id, d.attempts, d.since FROM {{schema}}.delivery d
WHERE d.id = ANY ($2::bigint[]) AND d.endpoint = $1 AND d.state = 'waiting'`, endpoint, nonNil(ids))
	if err != nil {
		return nil, fmt.Errorf("review parked deliveries: %w", err)
	}
	rows, err := pgx.CollectRows(found, func(from pgx.CollectableRow) (delivery.Parked, error) {
		p := delivery.Parked{Endpoint: endpoint, State: delivery.Waiting}
		var since *time.Time
		err := from.Scan(&p.ID, &p.Attempts, &since)
		p.Since = fromTime(since)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("review parked deliveries: %w", err)
	}
	return rows, nil
}
