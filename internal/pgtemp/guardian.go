package pgtemp

import (
	"context"
	"fmt"
	"io"
	"os/exec"
)

// guardian is a small shell process that outlives us when we are killed, stops the server and removes the folder. It
// reads a pipe of which we alone hold the other end, so it learns of our death from the system, however we die.
type guardian struct {
	cmd  *exec.Cmd
	pipe io.Closer
}

// The postmaster's pid is looked up when it is needed, since it changes over restarts. The shell runs as the server's
// account, so it can stop nothing else.
const guard = `
read -r _
pid=$(head -n 1 data/postmaster.pid 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null && {
	n=0
	while kill -0 "$pid" 2>/dev/null && [ "$n" -lt 10 ]; do sleep 1; n=$((n + 1)); done
}
dir=$PWD
cd /
rm -rf -- "$dir"
`

func watch(dir string, acct *account) (*guardian, error) {
	cmd := acct.command(context.Background(), dir, "/bin/sh", "-c", guard)
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watch over the cluster: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watch over the cluster: %w", err)
	}
	return &guardian{cmd, pipe}, nil
}

// dismiss ends the guardian. The folder is gone by then, so it finds nothing to do.
func (g *guardian) dismiss() {
	_ = g.pipe.Close()
	_ = g.cmd.Wait() // how it ended no longer matters
}
