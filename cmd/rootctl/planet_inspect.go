package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rootd/rootd/packetpath/vl1"
)

func newPlanetInspect(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "inspect FILE|current|-",
		Short:   "Show what a planet or moon says",
		Example: "  rootctl planet inspect current\n  rootctl planet inspect /var/lib/zerotier-one/planet -o json",
		Args:    wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, raw, err := e.world(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			j := describe(w, raw)
			j.File = args[0]
			return e.printWorld(j)
		},
	}
}

func newPlanetExport(e *env) *cobra.Command {
	var format, out string
	c := &cobra.Command{
		Use:   "export FILE|current|-",
		Short: "Write a planet or moon in the form that something else needs",
		Long: "export writes to standard output, or to --out. Forms: file (the binary that clients read), base64, hex, and definition " +
			"(the JSON of zerotier-idtool, without any secret).",
		Example: "  rootctl planet export current --out planet\n  rootctl planet export current --format base64",
		Args:    wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, raw, err := e.world(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return planetExport(e, w, raw, format, out)
		},
	}
	c.Flags().StringVar(&format, "format", "file", "file, base64, hex or definition")
	c.Flags().StringVar(&out, "out", "", "file to write instead of standard output")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

var exportFormats = []string{"file", "base64", "hex", "definition"}

func planetExport(e *env, w *vl1.World, raw []byte, format, out string) error {
	if !slices.Contains(exportFormats, format) {
		return usageError("--format %s: choose file, base64, hex or definition", format)
	}
	content := raw
	switch format {
	case "base64":
		content = []byte(base64.StdEncoding.EncodeToString(raw) + "\n")
	case "hex":
		content = []byte(hex.EncodeToString(raw) + "\n")
	case "definition":
		b, err := json.MarshalIndent(definition(w), "", " ")
		if err != nil {
			return err
		}
		content = append(b, '\n')
	case "file":
		if f, ok := e.stdout.(*os.File); ok && out == "" && term.IsTerminal(int(f.Fd())) {
			return usageError("the file is binary: name it with --out, or choose --format base64")
		}
	}
	if out == "" {
		_, err := e.stdout.Write(content)
		return err
	}
	if _, err := os.Lstat(out); err == nil && mayReplace(out, w, w) != nil {
		return mayReplace(out, w, w)
	}
	if err := writeWorld(out, content); err != nil {
		return err
	}
	e.note("wrote %s", out)
	return nil
}

// worldDefinition is the JSON of zerotier-idtool. It has no field for the secret.
type worldDefinition struct {
	ID        string           `json:"id"`
	ObjType   string           `json:"objtype"`
	Roots     []rootDefinition `json:"roots"`
	Signer    string           `json:"signingKey"`
	UpdatesBy string           `json:"updatesMustBeSignedBy"`
	Type      string           `json:"worldType"`
}

type rootDefinition struct {
	Identity  string   `json:"identity"`
	Endpoints []string `json:"stableEndpoints"`
}

func definition(w *vl1.World) worldDefinition {
	d := worldDefinition{ID: fmt.Sprintf("%x", w.ID), ObjType: "world", Signer: w.UpdateKey.String(), UpdatesBy: w.UpdateKey.String(), Type: w.Type.String(), Roots: []rootDefinition{}}
	for _, r := range w.Roots {
		rd := rootDefinition{Identity: r.Identity.String(), Endpoints: []string{}}
		for _, ap := range r.Endpoints {
			rd.Endpoints = append(rd.Endpoints, fmt.Sprintf("%s/%d", ap.Addr(), ap.Port()))
		}
		d.Roots = append(d.Roots, rd)
	}
	return d
}
