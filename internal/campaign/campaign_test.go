package campaign

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/cdc/cdctest"
	"relay/internal/pgtemp"
	"relay/internal/pgtemp/pgtest"
)

// seed is RELAY_SEED, or a new one.
func seed(t *testing.T) uint64 {
	n := rand.Uint64N(1_000_000)
	if text := os.Getenv("RELAY_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("replay with RELAY_SEED=%d", n)
	return n
}

// runCampaign is a random campaign of a length.
func runCampaign(t *testing.T, seed uint64, length, stall time.Duration, pause time.Duration) map[string]Summary {
	cluster := pgtest.Cluster(t, pgtemp.Options{Settings: map[string]string{"fsync": "on", "wal_sender_timeout": "3s"}})
	s := NewSystem(t, cluster.URL("postgres"))
	proxy := cdctest.NewProxy(t, s.URL)
	s.Via = proxy.URL
	c := &Chaos{System: s, Cluster: cluster, Proxy: proxy, Random: rand.New(rand.NewPCG(seed, 0)), Stall: stall}
	s.Subscribe("steady", "", nil)
	for _, sub := range []*Subscription{
		s.Subscribe("moody", "", nil),
		s.Subscribe("orders", `events: ["order.*"]`, func(r Row) bool { return r.Type != "user.created" }),
		s.Subscribe("batched", "format: cloudevents-batch\nbatch: {events: 20, wait: 20ms}", nil),
		s.Subscribe("strict", "order: strict\nevents: [user.created]", func(r Row) bool { return r.Type == "user.created" }),
	} {
		c.moody = append(c.moody, sub.Endpoint)
	}
	poisoned := s.Subscribe("poisoned", "", nil)
	poisoned.Poison = func(id ID) bool { return id.Seq()%101 == 0 }
	s.Setup()
	s.Start()
	stop := s.writers(seed, 3, pause)
	err := c.Run(length/2, calm)
	if err == nil {
		err = c.Run(length/2, rough)
	}
	stop()
	require.NoError(t, err)
	s.Drained(2 * time.Minute)
	s.Stop()
	return s.Verdict()
}

func TestRelay_KeepsItsPromiseThroughARandomCampaign(t *testing.T) {
	t.Parallel()
	sums := runCampaign(t, seed(t), 20*time.Second, 1500*time.Millisecond, 15*time.Millisecond)
	require.NotZero(t, sums["poisoned"].Dead)
}
