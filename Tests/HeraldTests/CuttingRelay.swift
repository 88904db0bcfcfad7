import NIOCore
import NIOPosix
import Synchronization

#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#endif

/// A generator whose numbers depend on its seed alone (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}

/// Stands between clients and a server on loopback. It cuts all connections when so many bytes have gone to clients,
/// in the middle of whatever is under way, and can be in the way of some transports.
final class CuttingRelay: Sendable {
    /// A transport, by what its requests look like.
    enum Kind: Sendable, CaseIterable { case webSocket, eventStream, heldPoll, other }

    /// What it does to a transport's requests.
    enum Way: Sendable, CaseIterable { case open, refused, cut, buffered }

    private struct Cut: Error {}

    /// Whether a connection's answers are held back.
    private final class Mute: Sendable {
        private let state = Mutex(false)

        var isOn: Bool {
            get { state.withLock { $0 } }
            set { state.withLock { $0 = newValue } }
        }
    }

    private struct State {
        var cuts: ArraySlice<Int>
        var random: SeededGenerator
        var forwarded = 0
        var cutCount = 0
        var ways: [Kind: Way] = [:]
        var connections: [Int: any Channel] = [:]
        var connectionCount = 0
        var requests: [Kind: Int] = [:]
    }

    let port: Int
    private let target: Int
    private let drawsWays: Bool
    private let state: Mutex<State>

    private init(_ port: Int, to target: Int, cuts: [Int], seed: UInt64, drawsWays: Bool) {
        self.port = port
        self.target = target
        self.drawsWays = drawsWays
        self.state = Mutex(State(cuts: cuts.sorted()[...], random: SeededGenerator(seed)))
    }

    /// How often it has cut all connections.
    var cutCount: Int { state.withLock { $0.cutCount } }

    /// How many requests it has seen of each kind.
    var requests: [Kind: Int] { state.withLock { $0.requests } }

    /// Runs a relay for as long as the body lasts. With `drawsWays` each cut changes which transports get through.
    static func run(
        to target: Int, cuts: [Int], seed: UInt64, drawsWays: Bool, _ body: (CuttingRelay) async throws -> Void
    ) async throws {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            // Nothing is read before a connection is served: one that no task gets is dropped, and must be empty then.
            .childChannelOption(.autoRead, value: false)
            .bind(host: "127.0.0.1", port: 0) { channel in channel.eventLoop.makeSucceededFuture(channel) }
        let port = listener.channel.localAddress?.port ?? 0
        let relay = CuttingRelay(port, to: target, cuts: cuts, seed: seed, drawsWays: drawsWays)
        let accepting = Task {
            try await listener.executeThenClose { connections in
                try await withThrowingDiscardingTaskGroup { group in
                    for try await connection in connections { group.addTask { await relay.serve(connection) } }
                }
            }
        }
        do {
            try await body(relay)
        } catch {
            accepting.cancel()
            throw error
        }
        accepting.cancel()
        _ = await accepting.result
    }

    @Sendable private static func wrap(
        _ channel: any Channel
    ) -> EventLoopFuture<NIOAsyncChannel<ByteBuffer, ByteBuffer>> {
        channel.eventLoop.makeCompletedFuture { try NIOAsyncChannel(wrappingChannelSynchronously: channel) }
    }

    private func serve(_ channel: any Channel) async {
        let number = state.withLock { state in
            state.connectionCount += 1
            state.connections[state.connectionCount] = channel
            return state.connectionCount
        }
        defer { state.withLock { _ = $0.connections.removeValue(forKey: number) } }
        // Both sides end by one of them ending, in whichever way.
        let front = try? await channel.eventLoop.flatSubmit {
            // One that was cut already would never be told of its end.
            channel.isActive ? Self.wrap(channel) : channel.eventLoop.makeFailedFuture(Cut())
        }.get()
        try? await front?.executeThenClose { requests, answers in
            try await channel.setOption(.autoRead, value: true).get()
            let back = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.socketOption(.tcp_nodelay), value: 1)
                .connect(host: "127.0.0.1", port: self.target, channelInitializer: Self.wrap)
            try await back.executeThenClose { inbound, outbound in
                let mute = Mute()
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for try await piece in requests {
                            switch self.way(of: piece) {
                            case .open: try await outbound.write(piece)
                            case .cut: throw Cut()
                            case .buffered:
                                mute.isOn = true
                                try await outbound.write(piece)
                            case .refused:
                                let refusal = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
                                try await answers.write(ByteBuffer(string: refusal))
                            }
                        }
                    }
                    group.addTask {
                        for try await piece in inbound where !mute.isOn {
                            let (passed, isCut) = self.pass(piece)
                            try await answers.write(passed)
                            if isCut { self.cutAll() }
                        }
                    }
                    defer { group.cancelAll() }
                    try await group.next()
                }
            }
        }
    }

    /// What is done to a piece that a client has sent: a request for one of the transports, or something else.
    private func way(of piece: ByteBuffer) -> Way {
        let text = String(buffer: piece).lowercased()
        guard text.hasPrefix("get /v1/events") else { return .open }
        let kind: Kind =
            text.contains("upgrade: websocket")
            ? .webSocket
            : text.contains("accept: text/event-stream") ? .eventStream : text.contains("wait=") ? .heldPoll : .other
        return state.withLock { state in
            state.requests[kind, default: 0] += 1
            return state.ways[kind] ?? .open
        }
    }

    /// Counts what goes to a client; gives what of it still goes, and whether all is to be cut then.
    private func pass(_ piece: ByteBuffer) -> (ByteBuffer, isCut: Bool) {
        state.withLock { state in
            guard let next = state.cuts.first, state.forwarded + piece.readableBytes >= next else {
                state.forwarded += piece.readableBytes
                return (piece, false)
            }
            let length = max(next - state.forwarded, 0)
            state.cuts.removeFirst()
            state.forwarded += length
            state.cutCount += 1
            if drawsWays { drawWays(&state) }
            return (piece.getSlice(at: piece.readerIndex, length: length) ?? ByteBuffer(), true)
        }
    }

    private func drawWays(_ state: inout State) {
        for kind in Kind.allCases where kind != .other {
            state.ways[kind] =
                Bool.random(using: &state.random) ? .open : Way.allCases.randomElement(using: &state.random)
        }
    }

    /// Ends all connections, by RST or in good order.
    private func cutAll() {
        let (connections, isReset) = state.withLock { state in
            (Array(state.connections.values), Bool.random(using: &state.random))
        }
        for connection in connections {
            let reset = isReset ? connection as? any SocketOptionProvider : nil
            let end =
                reset?.setSoLinger(linger(l_onoff: 1, l_linger: 0)) ?? connection.eventLoop.makeSucceededVoidFuture()
            end.whenComplete { _ in connection.close(promise: nil) }
        }
    }
}
