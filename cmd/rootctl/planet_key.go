package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

func newPlanetKey(e *env) *cobra.Command {
	return group("key", "Look after the key that signs the planet",
		"Whoever loses the key that signs the planet must touch every client. It may live on members or elsewhere; sealed in a backup it is safe.",
		newPlanetKeyStatus(e))
}

func newPlanetKeyStatus(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say whether any backup holds the planet's signing key",
		Long: "status says where the planet's signing key is, as far as this member and the log know: in this data directory, and in which backup. It warns until a verified backup " +
			"holds the key of the current planet. The exit code is 0 either way.",
		Example: "  rootctl planet key status",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return planetKeyStatus(cmd.Context(), e) },
	}
}

// keyStatus is what planet key status prints.
type keyStatus struct {
	Key    string        `json:"planet_key"` // SHA-256 of its public half; "" = no planet is published
	Here   bool          `json:"here"`       // in this data directory
	Safe   bool          `json:"safe"`       // a backup holds it
	Backup *admin.Backup `json:"backup"`     // the newest with a planet key
	Last   *admin.Backup `json:"last"`       // the newest of all
}

func planetKeyStatus(ctx context.Context, e *env) error {
	client := e.client()
	defer client.Close()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	b, err := client.Backups(ctx)
	if err != nil {
		return err
	}
	st := keyStatus{Key: b.PlanetKey, Safe: b.KeySafe, Backup: b.Key, Last: b.Last}
	k, err := datadir.ReadKey(e.defaultKey())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.note("warning: %v", err)
	}
	st.Here = err == nil && snapshot.KeyFingerprint(k.Public()) == st.Key
	if e.output == "json" {
		err = e.printJSON(st)
	} else {
		here := "no"
		if st.Here {
			here = e.defaultKey()
		}
		e.fields("Planet key", fmt.Sprintf("%.16s…", orDash(st.Key)), "In this directory", here, "In a backup", e.backupText(st.Backup), "Last backup", e.backupText(st.Last))
	}
	switch {
	case st.Safe || st.Key == "":
	case st.Backup != nil:
		e.note("warning: that backup holds the key of another planet, not of the current one")
		fallthrough
	default:
		e.note("warning: no backup that the cluster knows of holds the key that signs the planet: if it is lost, every client must be touched")
		e.note("hint: rootctl snapshot save FILE -r age1...%s", map[bool]string{false: " --key KEY, where the key is"}[st.Here])
	}
	return err
}

func (e *env) backupText(b *admin.Backup) string {
	if b == nil {
		return "none"
	}
	return fmt.Sprintf("%s  %s (%s), index %d", b.Where, b.Taken.Format(time.DateTime), ago(e.now(), b.Taken), b.Index)
}
