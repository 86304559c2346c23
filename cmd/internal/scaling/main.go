// Command scaling is the model of docs/scaling.md: from what rootd was measured to cost, and what peers are assumed to do,
// to what a cluster carries. It prints the tables of that page; with flags, those of another cluster:
//
//	go run ./cmd/internal/scaling -members 5 -cores 8 -memory 32 -network 1 -peers 3e7
//
// The model is plain arithmetic (model.go), without state or goroutines. Its test writes the tables into the page
// (UPDATE_DOCS=1), and refuses a page that says something else, so that the page and the model cannot drift apart.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := command(os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "scaling:", err)
		os.Exit(1)
	}
}

func command(args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		_, err := io.WriteString(stdout, tables())
		return err
	}
	c := Cluster{Members: 6, Machine: machines()[0]}
	peers := 15e6
	flags := flag.NewFlagSet("scaling", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.Members, "members", c.Members, "members")
	flags.Float64Var(&c.Machine.Cores, "cores", c.Machine.Cores, "cores of a member")
	gigabytes := flags.Float64("memory", c.Machine.Memory/1e9, "memory of a member, GB")
	gigabits := flags.Float64("network", c.Machine.Network/1e9, "network of a member, Gbit/s")
	flags.Float64Var(&peers, "peers", peers, "peers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c.Machine.Memory, c.Machine.Network = *gigabytes*1e9, *gigabits*1e9
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case c.Members < 2 || c.Machine.Cores <= 0 || c.Machine.Memory < 1e9 || c.Machine.Network <= 0 || peers < 1:
		return errors.New("need two members at least, with cores, a gigabyte of memory, a network, and a peer")
	}
	_, err := io.WriteString(stdout, capacity([]Cluster{c})+"\n"+populations(c, []float64{peers}))
	return err
}
