package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rootd/rootd/fsm"
	"github.com/rootd/rootd/fsm/replica"
	"github.com/rootd/rootd/fsm/table"
	"github.com/rootd/rootd/transport/admin"
	"github.com/rootd/rootd/transport/join"
)

var _ admin.Cluster = source{}

// refused makes an error that the admin API shows with the way out.
func refused(what, why, hint string) error {
	return &admin.Error{Status: 409, What: what, Why: why, Hint: hint}
}

// changed gives errors of a change of the log the status that fits.
func changed(what string, r fsm.Response, err error) error {
	switch {
	case err == nil:
		return nil
	case r.Err != nil:
		return refused(what, r.Err.Error(), "")
	case errors.Is(err, replica.ErrNotLeader) || errors.Is(err, replica.ErrNotRunning) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", what, admin.ErrUnavailable, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// Members implements [admin.Membership].
func (s source) Members(ctx context.Context) (*admin.Members, error) {
	m := s.m
	if err := s.informed("list members"); err != nil {
		return nil, err
	}
	state, raft := m.fsm.View().State(), m.replica.Stats()
	all := &admin.Members{
		Cluster: m.dir.Meta.Cluster, ClusterName: state.Cluster.Name, Leader: m.memberName(raft.LeaderID),
		Self: uint16(m.id), Quorum: raft.LeaderID != "", MaxVoters: state.Settings.Voters, Time: time.UnixMilli(state.Time),
	}
	all.Members = s.members(state)
	if m.cluster != nil {
		all.Rescues = m.cluster.rescues(ctx)
	}
	for _, r := range state.Removed {
		all.Removed = append(all.Removed, admin.Former{ID: uint16(r.ID), Name: r.Name, At: time.UnixMilli(r.At)})
	}
	return all, nil
}

func (s source) members(state *fsm.State) (all []admin.Member) {
	leader, _ := s.m.replica.Leader()
	for i := range state.Members {
		all = append(all, s.member(state, &state.Members[i], leader))
	}
	return all
}

func (s source) member(state *fsm.State, o *fsm.Member, leader string) admin.Member {
	id := fmt.Sprint(o.ID)
	a := admin.Member{
		ID: uint16(o.ID), Name: o.Name, Status: state.StatusOf(o.ID).String(), Version: o.Version, Feature: o.Feature,
		Vote: o.Vote.String(), Priority: o.Priority, Address: o.Address, Endpoints: o.Endpoints, Epoch: o.Epoch, Joined: millis(o.Joined), Up: millis(o.Up), LastReport: millis(o.LastReport),
	}
	a.Drain = drainStates[o.Drain]
	a.LogGone = s.m.cluster != nil && s.m.cluster.lost.has(o.ID, state)
	if o.KeyHash != (fsm.KeyHash{}) {
		a.KeyHash = hex.EncodeToString(o.KeyHash[:])
	}
	for _, v := range state.Voters.Servers {
		switch {
		case v.ID != id:
		case v.ID == leader:
			a.Role = admin.RoleLeader
		case v.Voter:
			a.Role = admin.RoleVoter
		default:
			a.Role = admin.RoleNonvoter
		}
	}
	if state.Planet != nil {
		for _, r := range state.Planet.World.Roots {
			for _, e := range r.Endpoints {
				if r.Identity == s.m.dir.Identity.Identity && slices.Contains(o.Endpoints, e) {
					a.Published = append(a.Published, e)
				}
			}
		}
	}
	if h := o.Health; h != nil {
		a.Health = &admin.Health{
			Load: float64(h.Load) / 1000, CPU: float64(h.CPU) / 1000, Memory: h.RSS, PacketsPerSecond: h.PPS, Sessions: h.Sessions, DiskFree: h.DiskFree,
		}
		a.Lag = uint64(h.LogLag)
		a.AppliedIndex = state.Index - min(state.Index, a.Lag)
	}
	asked, answered := state.Reachable(o.ID)
	for i, e := range o.Endpoints {
		a.Reach = append(a.Reach, admin.Reach{Endpoint: e, Asked: asked>>i&1 == 1, OK: answered>>i&1 == 1})
	}
	return a
}

func millis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// find finds a member by its name, or its ID in decimal.
func (s source) find(what, text string) (*fsm.State, *fsm.Member, error) {
	if err := s.informed(what); err != nil {
		return nil, nil, err
	}
	state := s.m.fsm.View().State()
	for i := range state.Members {
		if o := &state.Members[i]; o.Name == text || fmt.Sprint(o.ID) == text {
			return state, o, nil
		}
	}
	return nil, nil, fmt.Errorf("%s: member %s: %w", what, text, admin.ErrNotFound)
}

func (s source) named(id table.MemberID) (*admin.Member, error) {
	state := s.m.fsm.View().State()
	o, ok := state.Member(id)
	if !ok {
		return nil, fmt.Errorf("member %d: %w", id, admin.ErrNotFound)
	}
	a := s.member(state, o, s.m.replica.Stats().LeaderID)
	return &a, nil
}

// Tokens implements [admin.Tokens].
func (s source) Tokens(context.Context) ([]admin.Token, error) {
	state := s.m.fsm.View().State()
	all := []admin.Token{}
	for i := range state.Tokens {
		all = append(all, adminToken(state, &state.Tokens[i]))
	}
	return all, nil
}

func adminToken(state *fsm.State, t *fsm.Token) admin.Token {
	a := admin.Token{
		ID: hex.EncodeToString(t.ID[:]), Note: t.Name, Created: millis(t.Created), Expires: millis(t.Expires), State: admin.TokenOpen,
	}
	switch {
	case t.Used != 0:
		a.State, a.Used = admin.TokenUsed, millis(t.Used)
		if o, ok := state.Member(t.Member); ok {
			a.Member = o.Name
		} else {
			a.Member = fmt.Sprint(t.Member)
		}
	case time.Now().UnixMilli() >= t.Expires:
		a.State = admin.TokenExpired
	}
	return a
}

// reachable refuses what other machines are told to dial this member for, where they could not.
func (m *member) reachable(what string) error {
	if m.cluster == nil {
		return noClusterPort(what)
	}
	if err := join.CheckAddress(m.cluster.address); err != nil {
		return refused(what, err.Error(), "set cluster.address to the host and port at which other machines reach this member's cluster port, and restart rootd")
	}
	return nil
}

// noClusterPort is for what a root alone, which listens to no other member, cannot do.
func noClusterPort(what string) error {
	return refused(what, "this member has no cluster port (cluster.listen is off)", "set cluster.listen and restart rootd")
}

// CreateToken implements [admin.Tokens].
func (s source) CreateToken(ctx context.Context, r admin.TokenRequest) (*admin.NewToken, error) {
	const what = "create token"
	m := s.m
	if err := m.reachable(what); err != nil {
		return nil, err
	}
	life := time.Duration(r.Life) * time.Second
	if r.Life == 0 {
		life = 24 * time.Hour
	}
	if life < time.Minute || life > 365*24*time.Hour {
		return nil, refused(what, fmt.Sprintf("a life of %v is not between a minute and a year", life), "")
	}
	addresses := []string{m.cluster.address}
	for _, o := range m.fsm.View().State().Members {
		if o.ID != m.id && o.Address != "" && len(addresses) < 3 {
			addresses = append(addresses, o.Address)
		}
	}
	ca := m.cluster.keychain.Load().Credential.Self().CA
	t, err := join.NewToken(ca, time.Now().Add(life), addresses...)
	if err != nil {
		return nil, err
	}
	answer, err := m.propose(ctx, &fsm.TokenCreate{ID: fsm.TokenID(t.ID), SecretHash: t.SecretHash(), Expires: t.Expires.UnixMilli(), Name: r.Note})
	if err := changed(what, answer, err); err != nil {
		return nil, err
	}
	n := &admin.NewToken{Text: t.Text(), CA: ca.String(), Addresses: addresses}
	n.ID, n.Note, n.Created, n.Expires, n.State = t.ID.String(), r.Note, time.Now().UTC(), t.Expires.UTC(), admin.TokenOpen
	return n, nil
}

// RevokeToken implements [admin.Tokens].
func (s source) RevokeToken(ctx context.Context, text string) (*admin.Token, error) {
	const what = "revoke token"
	id, err := join.ParseTokenID(text)
	if err != nil {
		return nil, refused(what, err.Error(), "rootctl token list shows the IDs")
	}
	state := s.m.fsm.View().State()
	t, ok := state.Token(fsm.TokenID(id))
	if !ok {
		return nil, fmt.Errorf("%s %s: %w", what, text, admin.ErrNotFound)
	}
	a := adminToken(state, t)
	answer, err := s.m.propose(ctx, &fsm.TokenRevoke{ID: fsm.TokenID(id)})
	return &a, changed(what, answer, err)
}

// Settings implements [admin.Settings].
func (s source) Settings(context.Context) ([]admin.Setting, error) {
	if err := s.informed("list settings"); err != nil {
		return nil, err
	}
	settings := s.m.fsm.View().State().Settings
	var all []admin.Setting
	for _, k := range fsm.SettingKeys() {
		all = append(all, adminSetting(&settings, k))
	}
	for _, kv := range settings.Explicit() {
		if k, ok := geoKey(kv.Key); ok {
			all = append(all, adminSetting(&settings, k))
		}
	}
	slices.SortFunc(all, func(a, b admin.Setting) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// settingKey describes a setting, also one of those that there is one of for each prefix.
func settingKey(key string) (fsm.SettingKey, bool) {
	keys := fsm.SettingKeys()
	if i := slices.IndexFunc(keys, func(k fsm.SettingKey) bool { return k.Key == key }); i >= 0 {
		return keys[i], true
	}
	return geoKey(key)
}

func geoKey(key string) (fsm.SettingKey, bool) {
	return fsm.SettingKey{Level: 1, Key: key, Help: "where these addresses are: latitude,longitude[,radius in km][ city[, country]]"}, strings.HasPrefix(key, fsm.GeoPrefix)
}

func adminSetting(settings *fsm.Settings, k fsm.SettingKey) admin.Setting {
	v, _ := settings.Value(k.Key)
	explicit := slices.ContainsFunc(settings.Explicit(), func(e fsm.KeyValue) bool { return e.Key == k.Key })
	help := k.Help
	if int(k.Level) > settings.FeatureLevel {
		help += fmt.Sprintf("; needs feature level %d: rootctl upgrade finalize", k.Level)
	}
	return admin.Setting{Key: k.Key, Value: v, Default: k.Default, Explicit: explicit, Help: help}
}

// SetSetting implements [admin.Settings].
func (s source) SetSetting(ctx context.Context, key, value string) (*admin.Setting, error) {
	const what = "set setting"
	k, ok := settingKey(key)
	if !ok {
		return nil, refused(what, fmt.Sprintf("there is no setting %q", key), "rootctl config list shows them")
	}
	answer, err := s.m.propose(ctx, &fsm.SetMany{By: s.caller(ctx), Settings: []fsm.KeyValue{{Key: key, Value: value}}})
	if err := changed(what, answer, err); err != nil {
		return nil, err
	}
	settings := s.m.fsm.View().State().Settings
	a := adminSetting(&settings, k)
	return &a, nil
}

// Adoption implements [admin.Rollout].
func (s source) Adoption(ctx context.Context) (*admin.Adoption, error) {
	state := s.m.fsm.View().State()
	if state.Planet == nil {
		return nil, fmt.Errorf("planet: %w: none is published yet", admin.ErrNotFound)
	}
	a := &admin.Adoption{Planet: summary(state.Planet), Auto: s.m.publishes(state)}
	versions := map[uint64]int{}
	for cursor, done := uint64(0), false; !done && ctx.Err() == nil; {
		cursor, done = state.Table().Scan(cursor, 10_000, func(r *table.Record) {
			a.Peers++
			if r.Planet == 0 {
				a.Unknown++
				return
			}
			versions[r.Planet]++
		})
	}
	a.Adopted = versions[state.Planet.World.Timestamp]
	for ts, n := range versions {
		a.Versions = append(a.Versions, admin.AdoptionVersion{Timestamp: ts, Time: time.UnixMilli(int64(ts)).UTC(), Peers: n})
	}
	slices.SortFunc(a.Versions, func(x, y admin.AdoptionVersion) int { return cmp.Compare(y.Timestamp, x.Timestamp) })
	return a, ctx.Err()
}

// RemoveMember implements [admin.Membership].
func (s source) RemoveMember(ctx context.Context, name string, o admin.RemoveOptions) (*admin.Removal, error) {
	const what = "remove member"
	state, o2, err := s.find(what, name)
	if err != nil {
		return nil, err
	}
	removal := &admin.Removal{Member: s.member(state, o2, s.m.replica.Stats().LeaderID), Peers: s.attached(ctx, state, o2.ID)}
	if !s.m.leaderSoon(ctx) {
		return nil, noQuorum(what)
	}
	voters, alive, votes := 0, 0, false
	for _, v := range state.Voters.Servers {
		if !v.Voter {
			continue
		}
		if v.ID == fmt.Sprint(o2.ID) {
			votes = true
			continue
		}
		voters++
		if id, err := strconv.ParseUint(v.ID, 10, 16); err == nil && state.StatusOf(table.MemberID(id)) == fsm.StatusUp {
			alive++
		}
	}
	removal.VotersLeft, removal.VotersNeeded = alive, voters/2+1
	if st := state.StatusOf(o2.ID); st == fsm.StatusUp || st == fsm.StatusSuspect {
		removal.Problems = append(removal.Problems, fmt.Sprintf("it is %v and serves clients: stop it first", st))
	}
	if votes && alive < removal.VotersNeeded {
		removal.Problems = append(removal.Problems, fmt.Sprintf("only %d of the %d voters that would be left are up, %d are needed for a quorum", alive, voters, removal.VotersNeeded))
	}
	if voters == 0 && votes {
		return nil, refused(what, "it is the only voter", "a cluster needs one; stop rootd and keep its data directory instead")
	}
	alone := s.carried(ctx, what, o.Alone)
	switch {
	case o.DryRun:
		if e, ok := errors.AsType[*admin.Error](alone); ok {
			removal.Problems = append(removal.Problems, e.Why+" (--alone removes it all the same)")
		}
		return removal, nil
	case len(removal.Problems) > 0 && !o.Force:
		return nil, refused(what, strings.Join(removal.Problems, "; "), "--force does it all the same")
	}
	if err := s.undisturbed(what, o.Force); err != nil {
		return nil, err
	}
	if alone != nil {
		return nil, alone
	}
	answer, err := s.m.propose(ctx, &fsm.MemberRemove{ID: o2.ID, Force: o.Force})
	if err := changed(what, answer, err); err != nil {
		return nil, err
	}
	removal.Done = true
	return removal, nil
}

// leaderSoon reports whether there is a leader, or will be in a moment: an election takes some seconds.
func (m *member) leaderSoon(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, leaderless/3)
	defer cancel()
	for m.replica.Stats().LeaderID == "" {
		if !sleep(ctx, 100*time.Millisecond) {
			return false
		}
	}
	return true
}

// noQuorum is why nothing can be changed when there is no leader, force or not: a removal is an entry of the log.
func noQuorum(what string) error {
	return &admin.Error{
		Status: 503, What: what, Why: "there is no leader: most of the voters are down or unreachable, and without them nothing can be written to the log, by force neither",
		Hint: "start voters again until most of them run; if they are lost for good: rootctl recover, on the last survivor",
	}
}

// attached counts the peers that the log has at a member.
func (s source) attached(ctx context.Context, state *fsm.State, id table.MemberID) (n int) {
	for cursor, done := uint64(0), false; !done && ctx.Err() == nil; {
		cursor, done = state.Table().Scan(cursor, 10_000, func(r *table.Record) {
			v4, ok4 := state.Attached(r, false)
			v6, ok6 := state.Attached(r, true)
			if ok4 && v4 == id || ok6 && v6 == id {
				n++
			}
		})
	}
	return n
}
