package main

import (
	"relay/cdc"
	"relay/mapping"
)

// sourceOf is what the commands on the database side need of the configuration.
func sourceOf(cfg *mapping.Config) cdc.Source {
	s := cdc.Source{
		URL: cfg.Source.URL, Slot: cfg.Source.Slot, Publication: cfg.Source.Publication,
		Schema: cfg.Source.Schema, Messages: cfg.Source.Messages,
	}
	for _, t := range cfg.Source.Tables {
		s.Tables = append(s.Tables, cdc.SourceTable{Name: cdc.QualifiedName(t.Schema, t.Name), Columns: t.Columns.Map(), Named: t.Columns.Named, Delete: t.Retention > 0})
	}
	return s
}
