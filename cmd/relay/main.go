// Command relay delivers the committed rows of a Postgres outbox table to webhook endpoints.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(realMain())
}

func realMain() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2) // two: the soft and the immediate one, whatever this process is doing
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go stopOnSignal(signals, cancel)
	return execute(ctx, newConsole(os.Stdin, os.Stdout, os.Stderr), os.Args[1:])
}

// stopOnSignal asks for a soft stop at the first signal and exits at the second: whoever asks twice means it. What was
// not settled by then is sent again at the next start.
func stopOnSignal(signals <-chan os.Signal, soft context.CancelFunc) {
	<-signals
	soft()
	second := <-signals
	fmt.Fprintf(os.Stderr, "relay: %s again, stopping at once\n", second)
	abandon.run()
	os.Exit(exitFailed)
}
