package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"
)

// hmacLength is the length of new HMAC secrets in bytes: that of the hash.
const hmacLength = 32

// freshSecrets is what relay secret new prints.
type freshSecrets struct {
	HMAC    string `json:"hmac"`    // whsec_…, for relay.yaml and the receiver
	Private string `json:"private"` // whsk_…, for relay.yaml
	Public  string `json:"public"`  // whpk_…, for the receiver
}

func newSecretCommand(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "secret",
		Short:   "Make signing secrets",
		Long:    "Makes secrets for an endpoint's secrets in relay.yaml.",
		Example: "  relay secret new",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("say what to do: relay secret new")
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Print a fresh signing secret of each kind",
		Long: `Prints fresh random signing secrets of both kinds; use the one that suits.

A whsec_ secret signs by HMAC-SHA256 (v1), which every Standard Webhooks library verifies. relay and the
receiver both hold it. Of the ed25519 pair (v1a), relay holds the private whsk_ key, and the receiver needs
only the public whpk_ key, with which nobody can sign.

To rotate, put the new secret before the old one in secrets, wait until the receiver knows it, and take the
old one out. Nothing is stored: what is printed here is the only copy.`,
		Example: `  relay secret new
  relay secret new --json | jq -r .hmac > /run/secrets/billing`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := newSecrets()
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(s)
			}
			c.table([]string{"secret", "for"}, [][]string{
				{s.HMAC, "HMAC: relay.yaml and the receiver"},
				{s.Private, "ed25519, private: relay.yaml"},
				{s.Public, "ed25519, public: the receiver"},
			})
			return nil
		},
	})
	return cmd
}

// newSecrets returns fresh secrets in the forms of Standard Webhooks.
func newSecrets() (freshSecrets, error) {
	key := make([]byte, hmacLength)
	_, _ = rand.Read(key) // never fails
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return freshSecrets{}, fmt.Errorf("make ed25519 key: %w", err)
	}
	encode := base64.StdEncoding.EncodeToString
	return freshSecrets{HMAC: "whsec_" + encode(key), Private: "whsk_" + encode(private), Public: "whpk_" + encode(public)}, nil
}
