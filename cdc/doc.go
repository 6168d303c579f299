// Package cdc is relay's view of Postgres: it sets up and inspects publication and slot, streams committed rows from
// the slot in commit order, and confirms to the server what a Watermark says is durable, and nothing else.
//
// It speaks protocol version 1 of pgoutput: whole transactions, in text. The server spills large transactions to its
// disk, and rows of transactions that roll back are never seen here.
package cdc
