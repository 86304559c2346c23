package main

import (
	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/datadir"
)

func newPlanetSign(e *env) *cobra.Command {
	var key, out string
	c := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a planet or moon where the key is",
		Long: "sign signs a file made with planet make --unsigned, on the machine that keeps the signing key. Any other key than the one that the " +
			"file names is refused: clients would not take the result.",
		Example: "  rootctl planet sign planet.new --key /media/usb/planet.key",
		Args:    wantArgs("FILE"),
		RunE:    func(_ *cobra.Command, args []string) error { return planetSign(e, args[0], key, out) },
	}
	c.Flags().StringVar(&key, "key", datadir.FileKey, "signing key")
	c.Flags().StringVar(&out, "out", "", "file to write, default FILE itself")
	return c
}

func planetSign(e *env, path, keyPath, out string) error {
	w, raw, err := readWorld(path)
	if err != nil {
		return err
	}
	if err := w.Check(); err != nil {
		return err
	}
	key, err := datadir.ReadKey(keyPath)
	if err != nil {
		return err
	}
	if key.Public() != w.UpdateKey {
		return wrongKey(keyPath, w)
	}
	if !w.Verify(&w.UpdateKey) { // what is signed keeps its bytes
		w.Sign(key)
		raw = w.AppendBinary(nil)
	}
	if out == "" {
		out = path
	} else if err := mayReplace(out, w, w); err != nil {
		return err
	}
	if err := writeWorld(out, raw); err != nil {
		return err
	}
	j := describe(w, raw)
	j.File = out
	return e.printWorld(j)
}
