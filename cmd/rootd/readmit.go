package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/pki"
	"github.com/rootd/rootd/transport/rpc"
)

// A member that has lost its log has forgotten whom it voted for and what it confirmed; as a voter it would break both promises.
// So it does not start Raft. It asks the others, until the log says that it does not vote: then nobody counts on what it forgot,
// and it begins with an empty log, like a member that has just joined. It gets the state from the leader, and its vote back once it
// has been stable for a while. Its vote is taken by an operator (rootctl member readmit, upgrade --rollback): a version that loses
// logs must not go unnoticed from member to member. Or it is lost for so long that a standby has got it.

const (
	callReadmit = "readmit/1" // readmission: a member whose log is gone asks whether it may begin; an answer without an error: it may

	// askEvery is how often it asks. The others say that its log is gone until it may begin, or has not asked for lostFor.
	askEvery = time.Second
	lostFor  = 8 * time.Second

	readmitWay = "rootctl member readmit %s, where another member runs; upgrade --rollback does that, too"
)

type readmission struct {
	Member table.MemberID `json:"member,omitempty"` // whose log is gone; 0: the caller's
}

// lostLogs are members that say that their log is gone. Any goroutine.
type lostLogs struct {
	mu  sync.Mutex
	all map[table.MemberID]lostLog
}

// lostLog is what a member without its log said last.
type lostLog struct {
	at    time.Time
	epoch uint16 // its last life in the log: when it begins another one, it has a log
}

func (l *lostLogs) note(id table.MemberID, s *fsm.State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[table.MemberID]lostLog{}
	}
	if m, ok := s.Member(id); ok {
		l.all[id] = lostLog{time.Now(), m.Epoch}
	}
}

func (l *lostLogs) forget(id table.MemberID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, id)
}

func (l *lostLogs) has(id table.MemberID, s *fsm.State) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost, ok := l.all[id]
	m, member := s.Member(id)
	return ok && member && m.Epoch == lost.epoch && time.Since(lost.at) < lostFor
}

// waitReadmitted returns when this member, whose log is gone, may begin an empty one.
func (m *member) waitReadmitted(ctx context.Context) error {
	way := fmt.Sprintf(readmitWay, m.name)
	if m.cluster == nil {
		return &hinted{fmt.Errorf("the log in %s is gone, and without a cluster port no other member can be asked", m.dir.RaftDir()), "set cluster.listen"}
	}
	asking, stop := context.WithCancel(ctx)
	caller := rpc.NewCaller(rpc.CallerOptions{Mux: m.cluster.mux})
	var calls sync.WaitGroup
	calls.Go(func() { _ = caller.Run(asking) }) // ends with its context, and says nothing else
	defer func() {
		stop()
		calls.Wait()
	}()
	for said := ""; ; {
		why, ok := m.askReadmission(asking, caller)
		if ok {
			m.log.Warn("the log is gone: this member begins with an empty one", "path", m.dir.RaftDir())
			return nil
		}
		select {
		case err := <-m.cluster.expelled:
			return m.cluster.expelledBy(err)
		default:
		}
		if why != said {
			m.log.Error("the log is gone: this member waits to be readmitted", "path", m.dir.RaftDir(), "reason", why)
			said = why
		}
		if err := m.notify.waiting("its log is gone; "+way, 30*askEvery); err != nil {
			return err
		}
		if !sleep(ctx, askEvery) {
			return &hinted{fmt.Errorf("stopped before it was readmitted: the log in %s is gone: %s", m.dir.RaftDir(), why), way}
		}
	}
}

// askReadmission asks all other members, so that all of them know, and reports whether one said that this member may begin.
func (m *member) askReadmission(ctx context.Context, caller *rpc.Caller) (why string, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*askEvery)
	defer cancel()
	contacts := m.dir.Meta.Contacts
	errs := make([]error, len(contacts))
	var wg sync.WaitGroup
	for i, o := range contacts {
		wg.Go(func() {
			_, errs[i] = caller.Call(ctx, rpc.Target{ID: o.Member, Address: o.Address}, callReadmit, []byte("{}"))
			m.cluster.noteExpelled(errs[i])
		})
	}
	wg.Wait()
	var silent []string
	for i, err := range errs {
		if err == nil {
			return "", true
		}
		if e, refused := errors.AsType[*rpc.Error](err); refused && e.Code == codeRefused {
			return e.Text, false
		}
		silent = append(silent, contacts[i].Name)
	}
	return "no leader answers: asked " + strings.Join(silent, ", "), false
}

// handleReadmit is for the leader, to which the others pass it on.
func (c *cluster) handleReadmit(ctx context.Context, from pki.Peer, body []byte) ([]byte, error) {
	var r readmission
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	if r.Member == 0 {
		r.Member = table.MemberID(from.ID)
	}
	c.lost.note(r.Member, c.m.fsm.View().State())
	err := c.readmitted(ctx, r)
	if err == nil {
		c.lost.forget(r.Member)
	}
	return nil, err
}

// readmitted returns nil if a member that lost its log may begin an empty one: it does not vote.
func (c *cluster) readmitted(ctx context.Context, r readmission) error {
	if !c.m.replica.IsLeader() {
		body, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = c.callLeader(ctx, callReadmit, body)
		if e, ok := errors.AsType[*rpc.Error](err); ok {
			return e // as it was
		}
		return err
	}
	refusal := &rpc.Error{Code: codeRefused, Text: "it votes, and has forgotten what it voted for: " + fmt.Sprintf(readmitWay, c.m.memberName(fmt.Sprint(r.Member)))}
	if c.votes(r.Member) {
		return refusal
	}
	// A leader that was deposed may not know that the member has got its vote since.
	if err := c.m.replica.Barrier(ctx); err != nil {
		return err
	}
	if c.votes(r.Member) {
		return refusal
	}
	return nil
}

// votes reports whether a member votes, by the last configuration that is committed, as far as it is known here.
func (c *cluster) votes(id table.MemberID) bool {
	for _, v := range c.m.fsm.View().State().Voters.Servers {
		if v.ID == fmt.Sprint(id) {
			return v.Voter
		}
	}
	return false
}

// readmit takes the vote of a member whose log is gone, for which it waits. At the leader. Done twice, it is done once.
func (c *cluster) readmit(ctx context.Context, id table.MemberID) error {
	server := fmt.Sprint(id)
	if !c.lost.has(id, c.m.fsm.View().State()) {
		return &rpc.Error{Code: codeRefused, Text: "it does not say that its log is gone, as it does while it runs without one"}
	}
	if err := c.servers.CheckRemove(server); err != nil {
		return &rpc.Error{Code: codeRefused, Text: err.Error()}
	}
	if err := c.m.replica.Demote(ctx, server); err != nil {
		return err
	}
	c.m.log.Warn("member may begin with an empty log", "member", c.m.memberName(server))
	return nil
}

// ReadmitMember implements [admin.Membership].
func (s source) ReadmitMember(ctx context.Context, name string) (*admin.Member, error) {
	const what = "readmit member"
	_, o, err := s.find(what, name)
	if err != nil {
		return nil, err
	}
	if !s.m.leaderSoon(ctx) {
		return nil, noQuorum(what)
	}
	err = s.m.change(ctx, changeReadmit, o.ID)
	if e, ok := errors.AsType[*rpc.Error](err); ok && e.Code == codeRefused {
		return nil, refused(what, o.Name+": "+e.Text, "see rootctl member list")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return s.named(o.ID)
}
