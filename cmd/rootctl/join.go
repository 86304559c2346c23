package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/cmd/internal/build"
	"github.com/rootd/rootd/cmd/internal/datadir"
	"github.com/rootd/rootd/packetpath/vl1"
	"github.com/rootd/rootd/transport/join"
	"github.com/rootd/rootd/transport/pki"
)

// defaultClusterPort is the TCP and UDP port between members.
const defaultClusterPort = 9995

// tokenVariable is the environment variable that a token may be in, where a command line would be seen by others.
const tokenVariable = "ROOTD_JOIN_TOKEN"

type joinOptions struct {
	name      string
	address   string
	endpoints []string
	dryRun    bool
	force     bool
	yes       bool
	start     bool
	wait      time.Duration
	mustWait  bool // --wait was given
}

func newJoin(e *env) *cobra.Command {
	var o joinOptions
	c := &cobra.Command{
		Use:   "join TOKEN|-",
		Short: "Make this machine a member of a running cluster",
		Long: "join makes this machine a member of the cluster that made the token (rootctl token create). It verifies by the token that it speaks " +
			"to that cluster before it says anything, makes its own key, gets its certificate and the root's identity, and writes the data directory. " +
			"Then rootd is started; the member catches up, and is promoted when it has been stable. join waits for that.\n\n" +
			"It is safe to interrupt at any point and to run again with the same token: it goes on where it was, and there is never a second member.\n\n" +
			"Members try to reach the endpoints of this machine with a real HELLO before they let it in, so nothing else may use those UDP ports yet. " +
			"--force joins although they did not.\n\n" +
			"TOKEN may be - (standard input), or left out if it is in " + tokenVariable + ": then other users of this machine do not see it.",
		Example: "  rootctl join rootd-join-1.AQAA... --endpoint 203.0.113.7:9993 --endpoint [2001:db8::7]:9993\n" +
			"  rootctl join - --dry-run < token\n" +
			"  rootctl join rootd-join-1.AQAA... --name ams1 --address ams1.example.net:9995 --start",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && e.getenv(tokenVariable) == "" {
				return &userError{what: "TOKEN is missing", hint: "make one at a member: rootctl token create", usage: true}
			}
			if len(args) > 1 {
				return usageError("more than one argument: is there a space in the token?")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.mustWait = cmd.Flags().Changed("wait")
			return joinCluster(cmd.Context(), e, &o, args)
		},
	}
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "name of this member, default the host name")
	f.StringVar(&o.address, "address", "", "host:port at which other members dial this one (TCP and UDP), default that of the first endpoint, port 9995")
	f.StringSliceVar(&o.endpoints, "endpoint", nil, "public address:port for clients; may be repeated; default guessed from the interfaces")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would happen, and what stands against it; change nothing")
	f.BoolVar(&o.force, "force", false, "join although members do not reach the endpoints; does not open them to be probed")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.BoolVar(&o.start, "start", false, "start rootd with systemctl when the directory is ready")
	f.DurationVar(&o.wait, "wait", 10*time.Minute, "how long to wait until the member has caught up and is promoted; 0 = not at all. "+
		"Without --start and without --wait, only if rootd runs already")
	return c
}

func joinCluster(ctx context.Context, e *env, o *joinOptions, args []string) error {
	token, err := e.readToken(args)
	if err != nil {
		return err
	}
	found, err := datadir.FindJoin(e.dataDir, token.CA)
	if err != nil {
		return err
	}
	d := found.Dir
	if d == nil {
		if d, err = e.exchange(ctx, o, token, found.Key); err != nil || d == nil {
			return err
		}
	} else {
		e.note("%s is a member of this cluster already: %s (ID %d)", e.dataDir, d.Meta.Name, d.Meta.Member)
		if o.dryRun {
			return nil
		}
	}
	return e.afterJoin(ctx, o, d)
}

// readToken reads the token from where it is. No error quotes it.
func (e *env) readToken(args []string) (*join.Token, error) {
	text := e.getenv(tokenVariable)
	switch {
	case len(args) == 1 && args[0] == "-":
		b, err := io.ReadAll(io.LimitReader(e.stdin, 1<<16))
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		text = string(b)
	case len(args) == 1:
		text = args[0]
	}
	t, err := join.ParseToken(strings.TrimSpace(text))
	if err != nil {
		return nil, &userError{err: err, hint: "copy it again, whole, from rootctl token create", usage: true}
	}
	return t, nil
}

// request fills in what was not said.
func (e *env) request(o *joinOptions, token *join.Token) (join.Options, []string, error) {
	b := build.Current()
	r := join.Options{Token: token, Name: o.name, Address: o.address, Version: b.Version, Feature: uint16(b.FeatureLevel), DryRun: o.dryRun, Force: o.force, Now: e.now}
	if r.Name == "" {
		r.Name = hostName()
	}
	if !validName(r.Name) {
		return r, nil, usageError("--name %q: up to 63 letters, digits, dots and dashes, beginning with a letter or digit", r.Name)
	}
	var warnings []string
	var err error
	if len(o.endpoints) > 0 {
		if r.Endpoints, err = parseEndpoints(strings.Join(o.endpoints, ",")); err != nil {
			return r, nil, err
		}
		r.Endpoints = vl1.Interleave(r.Endpoints)
		warnings = datadir.EndpointWarnings(r.Endpoints)
	} else if r.Endpoints, warnings, err = guessEndpoints(); err != nil {
		return r, nil, err
	}
	if r.Address == "" {
		r.Address = net.JoinHostPort(r.Endpoints[0].Addr().String(), strconv.Itoa(defaultClusterPort))
	}
	if err := join.CheckAddress(r.Address); err != nil {
		return r, nil, &userError{what: "--address", err: err, usage: true}
	}
	return r, warnings, nil
}

// exchange joins, and returns the directory; nil after a dry run.
func (e *env) exchange(ctx context.Context, o *joinOptions, token *join.Token, kept *pki.Key) (*datadir.Dir, error) {
	r, warnings, err := e.request(o, token)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		e.note("! %s", w)
	}
	line := e.newStatusLine()
	defer line.done()
	r.Note = line.set
	if !o.force {
		close, err := answerProbes(ctx, &r)
		if err != nil {
			return nil, err
		}
		defer close()
	}
	if o.dryRun || !o.yes && e.terminal() {
		plan := r
		plan.DryRun, plan.Key = true, kept
		if plan.Key == nil {
			if plan.Key, err = pki.NewKey(); err != nil {
				return nil, err
			}
		}
		res, err := join.Join(ctx, plan)
		line.done()
		if err != nil {
			return nil, err
		}
		if err := e.showPlan(o, &r, res.Plan); err != nil || o.dryRun {
			return nil, err
		}
		if err := e.confirm(fmt.Sprintf("Join as %s?", r.Name)); err != nil {
			return nil, err
		}
	}
	return e.admission(ctx, r, line)
}

// admission is the exchange in earnest.
func (e *env) admission(ctx context.Context, r join.Options, line *statusLine) (_ *datadir.Dir, err error) {
	j, err := datadir.BeginJoin(e.dataDir, r.Token.CA, e.now())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	r.Key = j.Key
	res, err := join.Join(ctx, r)
	line.done()
	if err != nil {
		if refusal, ok := errors.AsType[*join.Refusal](err); ok && refusal.Final() {
			return nil, errors.Join(err, j.Abandon())
		}
		return nil, err
	}
	joined := datadir.Joined{
		Name: r.Name, Address: r.Address, Endpoints: r.Endpoints, ClusterName: res.Offer.ClusterName, Keys: res.Keys, Authority: res.Authority,
		Identity: res.Identity, Planet: res.Offer.Planet, PlanetKey: res.PlanetKey, Now: e.now(),
	}
	for _, m := range res.Offer.Members {
		if m.ID != res.Offer.Member {
			joined.Contacts = append(joined.Contacts, datadir.Contact{Member: m.ID, Name: m.Name, Address: m.Address})
		}
	}
	d, err := j.Finish(joined)
	if err != nil {
		return nil, err
	}
	return d, d.Close() // rootd needs the lock
}

// answerProbes opens the endpoints while members probe them. The function it returns closes them again: rootd needs them.
func answerProbes(ctx context.Context, r *join.Options) (func(), error) {
	responder, err := join.NewResponder()
	if err != nil {
		return nil, err
	}
	if err := responder.Listen(r.Endpoints); err != nil {
		hint := "is the endpoint right? --force joins without"
		if errors.Is(err, syscall.EADDRINUSE) {
			hint = "stop what uses the port (another rootd, zerotier-one), so that members can probe it; --force joins without"
		}
		return nil, &userError{err: err, hint: hint}
	}
	r.Probe = responder.Identity()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = responder.Run(ctx) })
	return func() { cancel(); wg.Wait() }, nil
}

// joinResult is what -o json prints.
type joinResult struct {
	DataDir   string           `json:"data_dir"`
	Member    pki.MemberID     `json:"member_id"`
	Name      string           `json:"name"`
	Cluster   string           `json:"cluster"`
	Root      vl1.Address      `json:"address"`
	Address   string           `json:"cluster_address"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Running   bool             `json:"running"`
	Ready     bool             `json:"ready"` // caught up, and a voter or a standby
	State     string           `json:"state"`
}

// afterJoin starts rootd or says how, and waits for the member.
func (e *env) afterJoin(ctx context.Context, o *joinOptions, d *datadir.Dir) error {
	table := e.output != "json"
	if table {
		e.fields(
			"member", fmt.Sprintf("%s, ID %d", d.Meta.Name, d.Meta.Member),
			"cluster", d.Meta.ClusterLabel()+" "+d.Meta.Cluster,
			"root", d.Identity.Address.String(),
			"directory", d.Path,
			"address", d.Meta.Address,
			"endpoints", joinAddrs(d.Meta.Endpoints),
		)
	}
	running := e.answers(ctx)
	if !running && o.start {
		cmd := exec.CommandContext(ctx, "systemctl", "start", "rootd")
		if out, err := cmd.CombinedOutput(); err != nil {
			return &userError{what: "systemctl start rootd", err: fmt.Errorf("%w: %s", err, firstLine(out)), hint: "look at journalctl -u rootd; then run the same rootctl join again"}
		}
	} else if !running && table {
		e.printf("\nNext: start it:  systemctl start rootd    (or: rootd -data-dir %s)\n", d.Path)
	}
	result := joinResult{
		DataDir: d.Path, Member: d.Meta.Member, Name: d.Meta.Name, Cluster: d.Meta.Cluster, Root: d.Identity.Address, Address: d.Meta.Address,
		Endpoints: d.Meta.Endpoints, Running: running, State: "prepared",
	}
	var err error
	if o.wait > 0 && (running || o.start || o.mustWait) {
		if result.State, err = e.awaitMember(ctx, o.wait, d); err == nil {
			result.Running, result.Ready = true, true
		}
	}
	if !table {
		return errors.Join(e.printJSON(result), err)
	}
	if err != nil || !result.Ready {
		return err
	}
	m, err := e.members(ctx)
	if err != nil {
		return err
	}
	e.printf("\n")
	e.printMembers(m)
	e.planetHint(ctx, d.Planet)
	return nil
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// answers reports whether a rootd answers at the socket.
func (e *env) answers(ctx context.Context) bool {
	c := e.client()
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := c.Status(ctx)
	return err == nil
}
