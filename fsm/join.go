package fsm

import (
	"bytes"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/rootd/rootd/fsm/table"
)

// Refusals of tokens and new members.
var (
	ErrTokenUnknown   = errors.New("the cluster does not know this token, or it was revoked")
	ErrTokenSecret    = errors.New("the secret of the token is wrong")
	ErrTokenExpired   = errors.New("the token has expired")
	ErrTokenUsed      = errors.New("the token was used by another machine")
	ErrTokenExists    = errors.New("another token has this ID")
	ErrTokensFull     = errors.New("there are too many tokens: revoke some")
	ErrMemberID       = errors.New("the member ID is taken")
	ErrMemberName     = errors.New("another member has this name")
	ErrMemberAddress  = errors.New("another member has this address")
	ErrMemberEndpoint = errors.New("another member has this endpoint")
	ErrMemberKey      = errors.New("another member has this node key")
	ErrMemberRemoved  = errors.New("the member was removed from the cluster")
)

// MaxTokens is the most tokens that the log knows at a time.
const MaxTokens = 1000

// tokenKeep is for how long after its expiry a token is remembered, in ms: so long can a join that was interrupted be
// run again, and its refusal says why.
const tokenKeep = 7 * 24 * 3600 * 1000

// Token is a join token, as far as the log knows it.
type Token struct {
	ID         TokenID
	SecretHash [32]byte // SHA-256 of the secret
	Name       string
	Created    int64 // ms since 1970
	Expires    int64 // ms since 1970

	Used    int64          // ms since 1970; 0: not yet
	Member  table.MemberID // who joined with it
	KeyHash KeyHash        // its node key then
}

// Token returns the token with the ID.
func (s *State) Token(id TokenID) (*Token, bool) {
	if i, ok := tokenIndex(s.Tokens, id); ok {
		return &s.Tokens[i], true
	}
	return nil, false
}

// TokenValid tells why a token cannot be used at a time in ms since 1970: [ErrTokenUnknown], [ErrTokenSecret],
// [ErrTokenUsed] or [ErrTokenExpired]. Its time does not depend on the secret. A used token still serves who used it;
// see [State.CheckJoin].
func (s *State) TokenValid(id TokenID, secretHash [32]byte, now int64) error {
	t, ok := s.Token(id)
	switch {
	case !ok:
		return ErrTokenUnknown
	case subtle.ConstantTimeCompare(t.SecretHash[:], secretHash[:]) != 1:
		return ErrTokenSecret
	case t.Used != 0:
		return ErrTokenUsed
	case now >= t.Expires:
		return ErrTokenExpired
	}
	return nil
}

// CheckJoin tells what the log would make of a join at a time in ms since 1970: nil and no error if it admits a new
// member, the member if the same machine has joined with the same token already, or the reason for a refusal. It does
// not look at the token's secret: whoever proposes the join has checked it.
func (s *State) CheckJoin(c *MemberJoin, now int64) (*Member, error) {
	t, ok := s.Token(c.Token)
	switch {
	case !ok:
		return nil, ErrTokenUnknown
	case t.Used != 0 && t.KeyHash != c.KeyHash:
		return nil, ErrTokenUsed
	case t.Used != 0:
		m, ok := s.Member(t.Member)
		if !ok {
			return nil, ErrMemberRemoved
		}
		if m.Status != StatusJoining {
			return m, nil
		}
		return m, s.checkFree(m.ID, c)
	case now >= t.Expires:
		return nil, ErrTokenExpired
	case s.IsRevoked(c.KeyHash):
		return nil, ErrMemberRemoved
	case !s.idFree(c.ID):
		return nil, fmt.Errorf("%w: %d", ErrMemberID, c.ID)
	}
	if m, ok := s.MemberByKeyHash(c.KeyHash); ok {
		return nil, fmt.Errorf("%w: %s", ErrMemberKey, m.Name)
	}
	if c.Feature != 0 {
		if err := s.understands(c.Name, c.Version, c.Feature); err != nil {
			return nil, err
		}
	}
	return nil, s.checkFree(0, c)
}

// checkFree checks that no member but self has the name, the address or an endpoint of a join.
func (s *State) checkFree(self table.MemberID, c *MemberJoin) error {
	for i := range s.Members {
		m := &s.Members[i]
		if m.ID == self {
			continue
		}
		switch {
		case m.Name == c.Name:
			return fmt.Errorf("%w: %s", ErrMemberName, c.Name)
		case m.Address == c.Address:
			return fmt.Errorf("%w: %s has %s", ErrMemberAddress, m.Name, c.Address)
		}
		for _, ep := range c.Endpoints {
			if slices.ContainsFunc(m.Endpoints, func(other netip.AddrPort) bool { return other == ep }) {
				return fmt.Errorf("%w: %s has %s", ErrMemberEndpoint, m.Name, ep)
			}
		}
	}
	return nil
}

func (f *FSM) tokenCreate(c *TokenCreate) error {
	tokens := slices.DeleteFunc(slices.Clone(f.st.Tokens), func(t Token) bool { return f.st.Time-t.Expires > tokenKeep })
	i, ok := tokenIndex(tokens, c.ID)
	switch {
	case ok && (tokens[i].SecretHash != c.SecretHash || tokens[i].Expires != c.Expires || tokens[i].Name != c.Name):
		return ErrTokenExists
	case ok:
		return nil
	case f.st.Time >= c.Expires:
		return ErrTokenExpired
	case len(tokens) >= MaxTokens:
		return fmt.Errorf("%w: %d", ErrTokensFull, len(tokens))
	}
	t := Token{ID: c.ID, SecretHash: c.SecretHash, Name: c.Name, Created: f.st.Time, Expires: c.Expires}
	f.st.Tokens = slices.Insert(tokens, i, t)
	return nil
}

func (f *FSM) tokenRevoke(c *TokenRevoke) error {
	i, ok := tokenIndex(f.st.Tokens, c.ID)
	if !ok {
		return ErrTokenUnknown
	}
	f.st.Tokens = slices.Delete(slices.Clone(f.st.Tokens), i, i+1)
	return nil
}

func (f *FSM) memberJoin(c *MemberJoin) (table.MemberID, error) {
	again, err := f.st.CheckJoin(c, f.st.Time)
	if err != nil || again != nil && again.Status != StatusJoining {
		return idOf(again), err
	}
	m := Member{
		ID: c.ID, Name: c.Name, Address: c.Address, Endpoints: c.Endpoints, KeyHash: c.KeyHash,
		Version: c.Version, Feature: c.Feature, Status: StatusJoining, Joined: f.st.Time,
	}
	if again != nil {
		m.ID, m.Joined = again.ID, again.Joined
	} else {
		f.st.Tokens = slices.Clone(f.st.Tokens)
		t, _ := f.st.Token(c.Token)
		t.Used, t.Member, t.KeyHash = f.st.Time, c.ID, c.KeyHash
	}
	f.setMember(&m)
	return m.ID, nil
}

func idOf(m *Member) table.MemberID {
	if m == nil {
		return 0
	}
	return m.ID
}

// tokenIndex finds id in the ascending tokens, or where it belongs.
func tokenIndex(tokens []Token, id TokenID) (int, bool) {
	return slices.BinarySearchFunc(tokens, id, func(t Token, id TokenID) int { return bytes.Compare(t.ID[:], id[:]) })
}
