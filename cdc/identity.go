package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// Identify returns the system identifier of the cluster behind a URL: what tells a rebuilt cluster, whose LSNs start
// anew, from the one that was there before. Like the stream, it wants a role that may replicate.
func Identify(ctx context.Context, url string) (string, error) {
	conn, err := connect(ctx, url, true)
	if err != nil {
		return "", err
	}
	defer closeConn(conn)
	system, err := pglogrepl.IdentifySystem(ctx, conn)
	if err != nil {
		return "", fmt.Errorf("identify the server: %w", err)
	}
	return system.SystemID, nil
}
