/// Takes the signals of a subscription's lanes and hands on what the reader is to see.
///
/// One lane at a time is the reader's. What another one brings ends that with `CancellationError`.
actor ReaderFeed {
    private var state: ReaderState
    private let handoff: Handoff<[Handed]>
    private var lane = 0

    init(_ position: Position, _ handoff: Handoff<[Handed]>) {
        self.state = ReaderState(position: position)
        self.handoff = handoff
    }

    /// Where the next connection is to start.
    var position: Position { state.position }

    /// Makes a lane the reader's.
    func activate(_ number: Int) { lane = number }

    /// Takes signals in their order. Waits while the reader has not taken what came before.
    ///
    /// The cursor moves in one step with handing on: a lane that is cancelled while it waits has not been read.
    func take(_ signals: [Signal], from number: Int) async throws {
        while true {
            guard number == lane else { throw CancellationError() }
            if try handoff.hasRoom() { break }
            try await handoff.waitForRoom()
        }
        let handed = state.take(signals)
        if !handed.isEmpty { try handoff.put(handed) }
    }

    nonisolated func finish(_ end: Result<Void, any Error>) { handoff.finish(end) }
}
