"""All that was published, and the judge of what a reader saw of it."""

import threading
from dataclasses import dataclass, field

from helpers import epoch, sequence


class Ledger:
    """What publishers sent and what they were answered, by the number in each event's data."""

    def __init__(self):
        self.events = {}  # id: (topic, number), of those that were answered 201
        self.doubtful = {}  # number: topic, of those whose answer did not come
        self.last = None  # the id of the last event of all, when it is known
        self._epochs = []
        self._lock = threading.Lock()

    def begin_epoch(self, identifier):
        """Epochs are in the order in which they are told of."""
        with self._lock:
            if epoch(identifier) not in self._epochs:
                self._epochs.append(epoch(identifier))

    def confirm(self, identifier, topic, number):
        with self._lock:
            assert identifier not in self.events, f"two events were given the id {identifier}"
            self.events[identifier] = (topic, number)
            self.doubtful.pop(number, None)

    def doubt(self, number, topic):
        self.doubtful[number] = topic

    def refuse(self, number):
        """Answered with a problem: whoever sees it sees what must not be."""
        del self.doubtful[number]

    def place(self, identifier):
        """Where an id stands in the order of all."""
        name = epoch(identifier)
        return (self._epochs.index(name) if name in self._epochs else -1, sequence(identifier))

    def after(self, start, topics=None):
        """The places and ids of what was published after start, to these topics or to all, in order."""
        with self._lock:
            chosen = [each for each, (topic, _) in self.events.items() if topics is None or topic in topics]
        placed = sorted((self.place(each), each) for each in chosen)
        return [(place, each) for place, each in placed if place > self.place(start)]


@dataclass
class Verdict:
    """What became of the published events, of one reader, and what it saw that it must not see."""

    published: int = 0
    received: int = 0
    covered: int = 0
    doubtful: int = 0  # came without the publisher's having been answered
    lost: list = field(default_factory=list)
    faults: list = field(default_factory=list)

    def demand_whole(self):
        assert not self.faults and not self.lost, (self.faults[:10], self.lost[:10], len(self.lost))


class Judge:
    """Walks through a reader's items in the order in which they came."""

    def __init__(self, ledger, start, reasons, topics=None):
        self.ledger, self.reasons = ledger, set(reasons)
        self.verdict = Verdict()
        self.due = ledger.after(start, topics)
        self.at = 0  # of those due, how many have been passed
        self.newest = ledger.place(start)
        self.gaps, self.seen, self.seen_doubtful = [], set(), set()
        self.verdict.published = len(self.due)

    def _is_covered(self, place):
        return any(low <= place <= high for low, high in self.gaps)

    def _pass_to(self, place):
        """What is due below place has to have come or been told of by now."""
        while self.at < len(self.due) and self.due[self.at][0] < place:
            due_place, identifier = self.due[self.at]
            self.at += 1
            if identifier in self.seen:
                continue
            if self._is_covered(due_place):
                self.verdict.covered += 1
            else:
                self.verdict.lost.append(identifier)

    def _event(self, body):
        identifier = body["id"]
        place = self.ledger.place(identifier)
        if identifier in self.seen:
            self.verdict.faults.append(f"{identifier} came twice")
            return
        if place <= self.newest:
            self.verdict.faults.append(f"{identifier} came after {self.newest}")
            return
        self._pass_to(place)
        self.newest = place
        self.seen.add(identifier)
        self._compare(identifier, body["topic"], body["data"]["n"])

    def _compare(self, identifier, topic, number):
        known = self.ledger.events.get(identifier)
        if known == (topic, number):
            self.verdict.received += 1
        elif known is not None:
            self.verdict.faults.append(f"{identifier} is {topic} {number}, and was published as {known}")
        elif self.ledger.doubtful.get(number) == topic and number not in self.seen_doubtful:
            self.seen_doubtful.add(number)
            self.verdict.doubtful += 1
        else:
            self.verdict.faults.append(f"{identifier}, {topic} {number}, was not published")

    def _gap(self, kind, body):
        low, high = self.ledger.place(body["from"]), self.ledger.place(body["to"])
        if kind == "reset":
            low = (low[0], low[1] + 1)  # what follows the reader's cursor, which it has
        if low > high or body["reason"] not in self.reasons:
            self.verdict.faults.append(f"a gap that must not be: {body}")
            return
        self.gaps.append((low, high))

    def judge(self, items):
        for item in items:
            if item.kind == "event":
                self._event(item.body)
            elif item.kind in ("gap", "reset"):
                self._gap(item.kind, item.body)
        self._pass_to((float("inf"), 0))
        return self.verdict


def judge(items, ledger, start, reasons=(), topics=None):
    """Ids ascend, nothing comes twice, and each event after start, of these topics or of all, came, or lies in a gap
    that was told before a later event came. A gap needs one of the reasons."""
    return Judge(ledger, start, reasons, topics).judge(items)
