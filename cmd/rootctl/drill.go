package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/snapshot"
	"github.com/rootd/rootd/transport/admin"
)

// drillLimit is how long a member of a drill may take to be ready, and all to agree.
const drillLimit = 10 * time.Minute

type drillOptions struct {
	keyOptions
	phrase   string // that opens the archive
	identity string // of an archive that does not hold it
	ca       string // the same
	rootd    string
	dir      string
	members  int
	inside   bool // in a network of its own
}

func newSnapshotDrill(e *env) *cobra.Command {
	o := drillOptions{members: 3}
	c := &cobra.Command{
		Use:   "drill FILE",
		Short: "Rehearse a disaster: restore an archive into a temporary cluster",
		Long: "drill makes a cluster of real members from an archive, in a temporary directory on this machine: init --from, start, join, start. It compares what they have with what the archive " +
			"says, prints how old that is (RPO: what would be lost now) and how long it took (RTO), and removes all of it.\n\n" +
			"The members run in a network of their own with nothing in it but themselves: they reach neither the real cluster nor a client. That needs Linux, and root or a kernel that " +
			"gives users network namespaces. The secrets are opened, and are in the temporary directory, readable by its owner alone, while the drill runs.",
		Example: "  rootctl snapshot drill alice.rootd --archive-key backup.key\n  rootctl snapshot drill alice.rootd --passphrase-file passphrase --members 1 -o json",
		Args:    wantArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.members < 1 || o.members > 9 {
				return usageError("--members %d: want 1 to 9", o.members)
			}
			return snapshotDrill(cmd.Context(), e, args[0], o)
		},
	}
	o.flags(c, "")
	f := c.Flags()
	f.StringVar(&o.identity, "identity", "", "the root's identity.secret, if the archive does not hold it")
	f.StringVar(&o.ca, "ca", "", "the cluster's ca.key, if the archive does not hold it")
	f.StringVar(&o.rootd, "rootd", "", "the rootd to run, default the one beside rootctl, else the one in PATH")
	f.StringVar(&o.dir, "dir", "", "directory for the temporary one, default that of the system; it needs room for a copy of the state for each member")
	f.IntVar(&o.members, "members", o.members, "members of the temporary cluster")
	f.BoolVar(&o.inside, "inside", false, "")
	_ = f.MarkHidden("inside")
	return c
}

func snapshotDrill(ctx context.Context, e *env, file string, o drillOptions) error {
	if file == "-" {
		return usageError("drill reads the archive twice: name a file")
	}
	var err error
	if o.rootd, err = findRootd(o.rootd); err != nil {
		return err
	}
	if !o.inside {
		if err := e.unsealForDrill(file, &o); err != nil {
			return err
		}
		return isolate(ctx, e, file, o)
	}
	if err := errors.Join(alone(), loopback()); err != nil {
		return err
	}
	d := &drill{e: e, o: o, line: e.newStatusLine(), out: drilled{File: file}}
	defer d.line.done()
	if d.dir, err = os.MkdirTemp(o.dir, "rootd-drill-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	ctx, cancel := context.WithTimeout(ctx, drillLimit)
	defer cancel()
	defer d.stop()
	if err := d.run(ctx, file); err != nil {
		return fmt.Errorf("drill: %w", err)
	}
	d.line.done()
	return d.out.print(e)
}

// secretFlags are the flags of rootctl init --from for the secrets.
func (o *drillOptions) secretFlags() (flags []string) {
	for _, x := range [][2]string{{"--archive-key", o.keyFile}, {"--identity", o.identity}, {"--ca", o.ca}} {
		if x[1] != "" {
			flags = append(flags, x[0], x[1])
		}
	}
	return flags
}

// unsealForDrill finds what opens the archive, or stands in for what it does not hold, before anything is started.
func (e *env) unsealForDrill(file string, o *drillOptions) error {
	a, closer, err := e.archive(file, io.Discard)
	if err != nil {
		return err
	}
	defer closer()
	m := a.Meta()
	if m.Secrets.Seal == snapshot.SealPassphrase { // asked for once, and for all that is started
		if o.phrase, err = e.passphrase(&o.keyOptions); err != nil {
			return err
		}
		o.passphraseFile = ""
	} else if _, err := e.unseal(m, &o.keyOptions); err != nil {
		return err
	}
	if m.Secrets.Identity == "" && o.identity == "" || m.Secrets.Authority == "" && o.ca == "" {
		return &userError{what: "a restore needs the root's identity and the cluster's authority, and the archive does not hold both", hint: "name them, as for rootctl init --from: --identity identity.secret --ca ca.key"}
	}
	return nil
}

// findRootd returns the path of the daemon.
func findRootd(given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "rootd")
		if fi, err := os.Stat(beside); err == nil && fi.Mode().IsRegular() {
			return beside, nil
		}
	}
	path, err := exec.LookPath("rootd")
	if err != nil {
		return "", &userError{what: "find rootd", err: err, hint: "name it with --rootd"}
	}
	return filepath.Abs(path)
}

// alone refuses to go on where anything but this machine can be reached: a restored member has the identity and the authority
// of the real ones, and would be believed.
func alone() error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			return fmt.Errorf("drill: interface %s is up: this is not a network of its own", i.Name)
		}
	}
	return nil
}

// drilled is what a drill prints.
type drilled struct {
	File     string         `json:"file"`
	Meta     *snapshot.Meta `json:"meta"`
	Contents string         `json:"contents_hash"`
	Members  int            `json:"members"`
	RPO      float64        `json:"rpo_seconds"`
	// RTO is the time until the first member served, All until all had the same.
	RTO      float64 `json:"rto_seconds"`
	All      float64 `json:"all_members_seconds"`
	Verified float64 `json:"verified_seconds"`
	Restored float64 `json:"restored_seconds"`
}

// drill is a drill in progress.
type drill struct {
	e     *env
	o     drillOptions
	dir   string
	line  *statusLine
	out   drilled
	began time.Time
	procs []*exec.Cmd
}

func (d *drill) say(text string) {
	if d.line.live {
		d.line.set("drill: " + text)
	}
}

func (d *drill) run(ctx context.Context, file string) error {
	d.began = time.Now()
	d.say("verifying the archive")
	if err := d.verify(file); err != nil {
		return err
	}
	d.out.Verified = time.Since(d.began).Seconds()
	d.out.RPO = d.e.now().Sub(d.out.Meta.Created).Seconds()
	d.say("restoring")
	args := []string{"init", "--from", file, "--yes"}
	args = append(args, d.o.secretFlags()...)
	if err := d.rootctl(ctx, 1, args...); err != nil {
		return err
	}
	d.out.Restored = time.Since(d.began).Seconds() - d.out.Verified
	if err := d.start(ctx, 1); err != nil {
		return err
	}
	d.out.RTO = time.Since(d.began).Seconds()
	for n := 2; n <= d.o.members; n++ {
		d.say(fmt.Sprintf("member %d joins", n))
		token, err := d.client(1).CreateToken(ctx, admin.TokenRequest{Note: "drill"})
		if err != nil {
			return err
		}
		if err := d.rootctl(ctx, n, "join", token.Text, "--yes", "--force"); err != nil {
			return err
		}
		if err := d.start(ctx, n); err != nil {
			return err
		}
	}
	d.say("comparing")
	for n := 1; n <= d.o.members; n++ {
		if err := d.same(ctx, n); err != nil {
			return err
		}
	}
	d.out.All, d.out.Members = time.Since(d.began).Seconds(), d.o.members
	return nil
}

// verify reads the archive, and learns what a restore must bring back.
func (d *drill) verify(file string) error {
	a, closer, err := d.e.archive(file, io.Discard)
	if err != nil {
		return err
	}
	defer closer()
	var st *fsm.State
	if err := a.Peers(func(s *fsm.State) error { st = s; return nil }, nil); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	d.out.Meta, d.out.Contents = a.Meta(), st.Contents().String()
	return nil
}

func (d *drill) member(n int) string { return filepath.Join(d.dir, fmt.Sprint("m", n)) }

func (d *drill) address(n, port int) string { return fmt.Sprintf("127.0.0.1:%d", port+n) }

// Ports of the members in their own network; the number of the member is added.
const (
	drillUDP     = 20000
	drillCluster = 21000
)

func (d *drill) client(n int) *admin.Client {
	return admin.NewClient(filepath.Join(d.member(n), "admin.sock"))
}

// rootctl runs this program for member n.
func (d *drill) rootctl(ctx context.Context, n int, args ...string) error {
	args = append(args, "--data-dir", d.member(n), "--name", fmt.Sprint("drill-", n), "--endpoint", d.address(n, drillUDP), "--address", d.address(n, drillCluster))
	cmd := exec.CommandContext(ctx, selfPath(), args...)
	cmd.Args[0] = os.Args[0]
	dieTogether(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.tell(out)
		return fmt.Errorf("rootctl %s for member %d: %w", args[0], n, err)
	}
	return nil
}

// start starts member n and waits until it serves.
func (d *drill) start(ctx context.Context, n int) error {
	d.say(fmt.Sprintf("member %d starts", n))
	log, err := os.Create(filepath.Join(d.dir, fmt.Sprint("m", n, ".log")))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(d.o.rootd, "-data-dir", d.member(n), "-listen", d.address(n, drillUDP), "-endpoints", d.address(n, drillUDP),
		"-cluster-listen", d.address(n, drillCluster), "-http-listen", "off")
	cmd.Stdout, cmd.Stderr = log, log
	dieTogether(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	d.procs = append(d.procs, cmd)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	c := d.client(n)
	defer c.Close()
	err = poll(ctx, func() (bool, error) {
		select {
		case err := <-ended:
			out, _ := os.ReadFile(log.Name())
			d.tell(out)
			return false, fmt.Errorf("it ended: %w", cmp.Or(err, errEnded))
		default:
		}
		st, err := c.Status(ctx)
		return err == nil && st.Ready && st.Raft.Leader != "", nil
	})
	if err != nil {
		return fmt.Errorf("start member %d: %w", n, err)
	}
	return nil
}

var errEnded = errors.New("it was not told to")

// same waits until member n has what the archive has.
func (d *drill) same(ctx context.Context, n int) error {
	c := d.client(n)
	defer c.Close()
	got := ""
	err := poll(ctx, func() (bool, error) {
		st, err := c.Status(ctx)
		if err != nil {
			return false, err
		}
		got = st.Cluster.Contents
		return got == d.out.Contents && st.Cluster.Members == d.o.members, nil
	})
	if err != nil {
		return fmt.Errorf("member %d has contents %s, the archive %s: %w", n, got, d.out.Contents, err)
	}
	return nil
}

func poll(ctx context.Context, met func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := met(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// stop ends what was started.
func (d *drill) stop() {
	for _, cmd := range d.procs {
		_ = cmd.Process.Kill() // nothing of it stays
	}
}

// tell shows the end of what a program said.
func (d *drill) tell(b []byte) {
	const most = 2000
	d.line.done()
	d.e.note("%s", strings.TrimSpace(string(b[max(0, len(b)-most):])))
}

func (d *drilled) print(e *env) error {
	if e.output == "json" {
		return e.printJSON(d)
	}
	s := func(seconds float64) time.Duration {
		return time.Duration(seconds * float64(time.Second)).Round(10 * time.Millisecond)
	}
	e.fields(
		"Drill", "passed: "+plural(d.Members, "member has", "members have")+" what the archive has",
		"Archive", fmt.Sprintf("%s of %s, index %d, %s", d.File, d.Meta.Created.Format(time.DateTime), d.Meta.Index, plural(d.Meta.Counts.Peers, "peer", "peers")),
		"Contents", d.Contents,
		"RPO", span(s(d.RPO))+": what was committed since would be lost now",
		"RTO", fmt.Sprintf("%v until the first member served (verified %v, restored %v), %v until all had it", s(d.RTO), s(d.Verified), s(d.Restored), s(d.All)),
	)
	return nil
}
