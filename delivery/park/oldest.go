package park

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const oldestSQL = `
SELECT e, least(
  (SELECT coalesce(commit_time, since, parked_at) FROM {{schema}}.delivery
   WHERE endpoint = e AND state = 'waiting' AND NOT blocked AND due IS NULL ORDER BY turn LIMIT 1),
  (SELECT min(born) FROM (SELECT coalesce(commit_time, since, parked_at) AS born FROM {{schema}}.delivery
   WHERE endpoint = e AND state = 'waiting' AND due IS NOT NULL ORDER BY due LIMIT 1000) AS d))
FROM unnest($1::text[]) AS e`

// Oldest returns when the oldest waiting delivery of each of the endpoints was committed; one that has none is not there. It
// looks at the head of the queue, and at those that are due first of what waits for a time, and so takes no longer for a
// million rows: what is held back by another is younger than that.
func (s *Store) Oldest(ctx context.Context, endpoints []string) (map[string]time.Time, error) {
	found, err := s.query(ctx, oldestSQL, endpoints)
	if err != nil {
		return nil, fmt.Errorf("find the oldest parked deliveries: %w", err)
	}
	oldest := map[string]time.Time{}
	var endpoint string
	var at *time.Time
	_, err = pgx.ForEachRow(found, []any{&endpoint, &at}, func() error {
		if at != nil {
			oldest[endpoint] = *at
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find the oldest parked deliveries: %w", err)
	}
	return oldest, nil
}
