package main

import "time"

// account is what a run costs those beside the measured process, from when it is opened.
type account struct {
	bench              *bench
	postgres, receiver time.Duration
}

// openAccount is called before the measured process starts.
func (b *bench) openAccount() account {
	return account{b, cpuOfFamily(b.cluster.Pid()), cpuOfSelf()}
}

// close notes what Postgres and the receivers, which this process plays, took since.
func (a account) close(r *result) {
	r.postgres = cpuOfFamily(a.bench.cluster.Pid()) - a.postgres
	r.receiver = cpuOfSelf() - a.receiver
}
