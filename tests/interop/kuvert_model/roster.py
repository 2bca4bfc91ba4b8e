"""Section 18.3: rosters. What a set of operations comes to, rule by rule; written to be read, not to be fast."""

from dataclasses import dataclass

RANK = {"owner": 0, "admin": 1, "member": 2}
NAME = {rank: role for role, rank in RANK.items()}
MAX_PARENTS, MAX_EFFECTIVE = 16, 512
OWN = ("leave", "resign", "cut")  # an account's own operations, which need no stint


@dataclass(frozen=True)
class Operation:
    id: str  # in place of the hash: compared as text
    kind: str
    author: str
    device: int | None  # None: the account key signed
    parents: tuple[str, ...]
    lamport: int
    stint: str | None
    account: str | None = None  # of grant, remove, demote
    key: str | None = None  # of create, grant
    role: str | None = None  # of grant
    devices: tuple[int, ...] = ()  # of cut
    field: int | None = None  # of info
    value: str | None = None

    @staticmethod
    def of(listed: dict) -> "Operation":
        lists = {name: tuple(listed[name]) for name in ("parents", "devices") if name in listed}
        return Operation(**{**listed, **lists})


class Roster:
    def __init__(self, group: str, operations: list[Operation]):
        self.group = group
        self._admit({operation.id: operation for operation in operations})
        self._evaluate()

    # --- R1 to R4: what is well formed depends on an operation's own past only ---

    def _admit(self, given: dict[str, Operation]) -> None:
        self.ops: dict[str, Operation] = {}
        self.past: dict[str, set[str]] = {}
        self.depth: dict[str, int] = {}
        self.held, self.rejected = set(), set()
        left = dict(given)
        while left:
            ready = [i for i in left if not any(parent in left for parent in left[i].parents)]
            for i in ready:
                op = left.pop(i)
                if any(parent in self.rejected for parent in op.parents):
                    self.rejected.add(i)
                elif any(parent not in self.ops for parent in op.parents):
                    self.held.add(i)
                elif self._well_formed(op):
                    self.ops[i] = op
                else:
                    self.rejected.add(i)

    def _well_formed(self, op: Operation) -> bool:
        past = set(op.parents).union(*(self.past[parent] for parent in op.parents))
        self.past[op.id] = past
        self.depth[op.id] = 0 if op.kind == "create" else self.depth.get(op.stint, 0) + 1
        if (op.kind == "cut") != (op.device is None):
            return False
        if op.kind == "create":
            return op.id == self.group and not op.parents and op.lamport == 0 and op.stint is None
        if not 1 <= len(op.parents) <= MAX_PARENTS or len(set(op.parents)) != len(op.parents):
            return False
        if op.lamport != 1 + max(self.ops[parent].lamport for parent in op.parents):
            return False
        if sum(self._writer(self.ops[x]) == self._writer(op) for x in past) >= MAX_EFFECTIVE:
            return False
        if op.kind in OWN:
            held = (self.ops[x] for x in past if self.ops[x].kind in ("create", "grant"))
            return op.stint is None and any(self._holder(stint) == op.author for stint in held)
        if op.stint not in past or self._holder(self.ops[op.stint]) != op.author:
            return False
        rank = self._rank(op.stint)
        if op.kind == "grant":
            return rank <= 1 and RANK[op.role] >= rank
        if op.kind in ("remove", "demote"):
            return rank <= 1 and op.account != op.author
        return rank <= 1 if op.kind in ("info", "checkpoint") else op.kind == "close" and rank == 0

    @staticmethod
    def _writer(op: Operation) -> tuple:
        return op.author, op.device, op.stint, op.kind in OWN

    @staticmethod
    def _holder(op: Operation) -> str | None:
        return op.author if op.kind in ("create", "resign") else op.account

    def _rank(self, stint: str) -> int:
        op = self.ops[stint]
        return 0 if op.kind == "create" else RANK[op.role] if op.kind == "grant" else 2

    def _key(self, stint: str) -> tuple:
        return self._rank(stint), self.depth[stint], self.ops[stint].lamport, stint

    def _before(self, x: str, y: str) -> bool:
        return x in self.past[y]

    def _lowest(self, ids) -> list[str]:
        """R12"""
        counts, kept = {}, []
        for i in sorted(ids, key=lambda i: (self.ops[i].lamport, i)):
            writer = self._writer(self.ops[i])
            counts[writer] = counts.get(writer, 0) + 1
            if counts[writer] <= MAX_EFFECTIVE:
                kept.append(i)
        return kept

    # --- one pass over the stints, the most senior first ---

    def _evaluate(self) -> None:
        self.effective, self.checkpoints, self.bad = set(), [], set()
        self.hit, self.left, self.cut = {}, {}, {}
        if self.group in self.ops:
            self.effective.add(self.group)
        makes = [i for i, op in self.ops.items() if op.kind in ("create", "grant", "demote", "resign")]
        for v in sorted(makes, key=self._key):
            if not self._came_to_be(v):
                continue
            account = self._holder(self.ops[v])
            self.hit[v] = [r for r in self._aimed(account) if r in self.effective and self._aims_at(r, v, None)]
            own = self._lowest(y for y in self._own(account) if all(self._keeps(r, v, None, y) for r in self.hit[v]))
            self.cut[v] = [y for y in own if self.ops[y].kind == "cut"]
            self.left[v] = []
            others = [y for y in own if self.ops[y].kind != "cut"]
            self.left[v] = [y for y in others if self._aims_at(y, v, None) and self._device_counts(y, v)]
            sealers = self.hit[v] + self.left[v]
            mine = [i for i, op in self.ops.items() if op.stint == v]
            mine = [x for x in mine if all(self._keeps(y, v, None, x) for y in sealers) and self._device_counts(x, v)]
            self.bad.update(mine)
            for x in self._lowest([x for x in mine if self._in_good_faith(x)]):
                self.bad.discard(x)
                self.effective.add(x)
                if self.ops[x].kind == "checkpoint":
                    self.checkpoints.append((self._key(v), x))

    def _aimed(self, account: str) -> list[str]:
        return [i for i, op in self.ops.items() if op.kind in ("remove", "demote") and op.account == account]

    def _own(self, account: str) -> list[str]:
        return [i for i, op in self.ops.items() if op.kind in OWN and op.author == account]

    def _came_to_be(self, v: str) -> bool:
        op = self.ops[v]
        if op.kind in ("create", "grant"):
            return v in self.effective
        ended_by = self.hit if op.kind == "demote" else self.left
        leaves = [y for y in self._own(self._holder(op)) if self.ops[y].kind == "leave" and self._before(y, v)]
        for t in self.hit:  # R8
            if self._rank(t) < 2 and v in ended_by[t]:
                over = any(self._before(y, v) for y in self.hit[t] + self.left[t])
                gone = any(self._device_counts(y, t) and not self._before(y, t) for y in leaves)
                if not over and not gone:
                    return True
        return False

    def _in_good_faith(self, x: str) -> bool:
        """R5"""
        z = x
        while self.ops[z].stint:
            v = self.ops[z].stint
            account = self._holder(self.ops[v])
            for y in self._aimed(account) + self._own(account):
                aimed = self._before(y, x) and self._aims_at(y, v, z) and not self._keeps(y, v, x, z)
                if aimed and not self._known_void(y, v, x):
                    return False
            z = v
        return True

    def _aims_at(self, y: str, v: str, z: str | None) -> bool:
        """R6, R9, R10"""
        op = self.ops[y]
        if op.kind == "cut":
            return z is not None and self.ops[z].device in op.devices
        senior = op.kind in OWN or self._key(op.stint) < self._key(v)
        return senior and not self._before(y, v) and (self._rank(v) < 2 or op.kind in ("remove", "leave"))

    def _known_void(self, y: str, v: str, x: str) -> bool:
        if self.ops[y].kind in OWN:
            counts = y in self.left.get(v, []) + self.cut.get(v, [])
            return not counts and self._known_reason(y, v, x)
        while y not in self.effective and self.ops[y].stint:
            if y in self.bad or self._known_reason(y, self.ops[y].stint, x):
                return True
            y = self.ops[y].stint
        return False

    def _known_reason(self, y: str, v: str, x: str) -> bool:
        cuts = [c for c in self.cut.get(v, []) if self.ops[y].device in self.ops[c].devices]
        sealers = self.hit.get(v, []) + self.left.get(v, []) + cuts
        return any(self._before(s, x) and not self._keeps(s, v, None, y) for s in sealers)

    def _device_counts(self, x: str, v: str) -> bool:
        cuts = (c for c in self.cut[v] if self.ops[x].device in self.ops[c].devices)
        return all(self._keeps(c, v, None, x) for c in cuts)

    def _keeps(self, y: str, v: str, known_to: str | None, x: str) -> bool:
        """R7, R11"""
        if self._before(x, y):
            return True
        stint = self.ops[y].stint
        for key, k in self.checkpoints:
            overrules = key <= self._key(stint) if stint else key < self._key(v)
            known = known_to is None or self._before(k, known_to)
            if overrules and known and self._before(x, k) and not self._before(y, k):
                return True
        return False

    # --- what it comes to ---

    def result(self) -> dict:
        members, conflicts = {}, set()
        live = [v for v in self.hit if not self.hit[v] and not self.left[v]]
        granter = lambda v: (0, self._key(self.ops[v].stint)) if self.ops[v].stint else (-1,)
        granted = [v for v in live if self.ops[v].kind in ("create", "grant")]
        for v in sorted(granted, key=lambda v: (granter(v), self._key(v))):  # R13
            account, key = self._holder(self.ops[v]), self.ops[v].key
            member = members.setdefault(account, {"role": 2, "key": key})
            if member["key"] != key:
                conflicts.add(account)
            else:
                member["role"] = min(member["role"], self._rank(v))
        for v in live:
            if self.ops[v].kind in ("demote", "resign"):
                account = self._holder(self.ops[v])
                if account not in members:
                    members[account] = {"role": 2, "key": self._key_before(v)}
        effective_own = {y for v in self.hit for y in self.left[v] + self.cut[v]}
        counting = self.effective | effective_own
        known = set().union(*(self.past[x] for x in counting)) if counting else set()
        return {
            "members": {a: {"role": NAME[m["role"]], "key": m["key"]} for a, m in sorted(members.items())},
            "info": self._info(),
            "conflicts": sorted(conflicts),
            "closed": any(self.ops[x].kind == "close" for x in self.effective),
            "void": sorted(i for i, op in self.ops.items() if op.stint and i not in self.effective),
            "held": sorted(self.held),
            "rejected": sorted(self.rejected),
            "heads": sorted(counting - known),
        }

    def _key_before(self, v: str) -> str:
        ended = [t for t in self.hit if v in self.hit[t] + self.left[t] and self.ops[t].key is not None]
        return self.ops[min(ended, key=self._key)].key

    def _info(self) -> dict:
        """R14"""
        info = {}
        writes = [x for x in self.effective if self.ops[x].kind == "info"]
        for field in sorted({self.ops[x].field for x in writes}):
            of_field = [x for x in writes if self.ops[x].field == field]
            newest = [x for x in of_field if not any(self._before(x, y) for y in of_field)]
            best = min(newest, key=lambda x: (self._key(self.ops[x].stint), -self.ops[x].lamport, x))
            info[str(field)] = self.ops[best].value
        return info


def resolve(group: str, operations: list[dict]) -> dict:
    return Roster(group, [Operation.of(listed) for listed in operations]).result()
