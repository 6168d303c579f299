package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// sample is what a relay's metrics said at one moment.
type sample struct{ mallocs, delivered, parked float64 }

// scraper asks for plain text: compressing it would cost the relay memory and time that are measured.
var scraper = &http.Client{Transport: &http.Transport{DisableCompression: true}}

// sample returns zeros while there are no metrics: of another system, or while the relay starts or stops.
func (p *process) sample() sample {
	if p.admin == "" {
		return sample{}
	}
	resp, err := scraper.Get("http://" + p.admin + "/metrics")
	if err != nil {
		return sample{}
	}
	defer resp.Body.Close() //nolint:errcheck // what was read counts
	return readSample(resp.Body)
}

func readSample(text io.Reader) sample {
	var s sample
	for lines := bufio.NewScanner(text); lines.Scan(); {
		line := lines.Text()
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		switch {
		case err != nil:
		case strings.HasPrefix(line, "go_memstats_mallocs_total "):
			s.mallocs = value
		case !strings.HasPrefix(line, "relay_deliveries_total{"):
		case strings.Contains(line, `outcome="delivered"`):
			s.delivered += value
		case strings.Contains(line, `outcome="parked"`):
			s.parked += value
		}
	}
	return s
}

// firstSample waits for a relay's metrics, which are there some milliseconds after its start.
func (p *process) firstSample() sample {
	for deadline := time.Now().Add(5 * time.Second); p.admin != "" && time.Now().Before(deadline); {
		if s := p.sample(); s.mallocs > 0 {
			return s
		}
		select {
		case <-p.exited:
			return sample{}
		case <-time.After(2 * time.Millisecond):
		}
	}
	return sample{}
}

// since returns the allocations per delivery between two samples.
func (s sample) since(begun sample) float64 {
	if s.delivered <= begun.delivered || begun.mallocs == 0 {
		return 0
	}
	return (s.mallocs - begun.mallocs) / (s.delivered - begun.delivered)
}

// freeAddress returns one that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// sayMallocs has the benchmark know how many allocations this process made, which runs for it.
func sayMallocs() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Printf("mallocs %d\n", m.Mallocs)
}

func saidMallocs(log []byte) float64 {
	var n uint64
	if i := bytes.LastIndex(log, []byte("mallocs ")); i >= 0 {
		_, _ = fmt.Sscanf(string(log[i:]), "mallocs %d", &n) // 0 is "not known"
	}
	return float64(n)
}
