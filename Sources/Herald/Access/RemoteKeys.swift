import AsyncHTTPClient
import Logging
import NIOCore
import Synchronization

/// Keys that are fetched from a URL, and fetched again before they are old.
///
/// A fetch that fails takes nothing away. However many tokens name a key that is not there, fetches on their account
/// are at least `unknownKeyGap` apart, and those that come while one is under way wait for it.
actor RemoteKeys {
    /// What a fetch brought.
    struct Answer: Sendable {
        /// The document; nil if it is the one that the entity tag stands for.
        var document: [UInt8]?
        /// The document's entity tag.
        var entityTag: String?
        /// How long the document is good for.
        var maxAge: Duration?
    }

    /// Fetches the document, unless it is still the one with that entity tag.
    typealias Fetch = @Sendable (_ entityTag: String?) async throws(KeyFault) -> Answer

    /// How often fetches have been tried, and how often in vain.
    struct Counts: Sendable, Hashable {
        /// All fetches.
        var fetched: UInt64 = 0
        /// Those that brought nothing of use.
        var failed: UInt64 = 0
    }

    private let fetch: Fetch
    private let interval: Duration
    private let unknownKeyGap: Duration
    private let logger: Logger
    private let use: @Sendable ([TokenKey]) -> Void

    private nonisolated let tally = Mutex(Counts())
    private var present: (document: [UInt8], entityTag: String?)?
    private var maxAge: Duration?
    private var failureCount = 0
    private var lastBegin: ContinuousClock.Instant?
    private var underway: Task<Bool, Never>?

    /// The shortest time between two fetches for which nobody but the clock gives a reason.
    static let intervalMin: Duration = .seconds(10)

    /// Makes a source without keys. `use` is called with all of them whenever they change.
    init(
        interval: Duration, unknownKeyGap: Duration = .seconds(10), logger: Logger, fetch: @escaping Fetch,
        use: @escaping @Sendable ([TokenKey]) -> Void
    ) {
        self.interval = interval
        self.unknownKeyGap = unknownKeyGap
        self.logger = logger
        self.fetch = fetch
        self.use = use
    }

    /// What has happened so far.
    nonisolated var counts: Counts { tally.withLock { $0 } }

    /// Fetches again and again until the task is cancelled.
    func run() async {
        repeat {
            await refresh()
        } while (try? await Task.sleep(for: delay)) != nil
    }

    /// The time until the next fetch: as long as the keys are good for, but no longer than was set; soon after a failure.
    var delay: Duration {
        guard failureCount > 0 else { return min(interval, max(maxAge ?? interval, Self.intervalMin)) }
        let backoff: Duration = .seconds(1 << min(failureCount - 1, 5))
        return min(interval, present == nil ? min(backoff, .seconds(30)) : .seconds(30))
    }

    /// Fetches, or waits for the fetch that is under way; answers whether that went well.
    @discardableResult
    func refresh() async -> Bool {
        if let underway { return await underway.value }
        lastBegin = .now
        let task = Task { await self.fetchOnce() }
        underway = task
        let wentWell = await task.value
        underway = nil
        return wentWell
    }

    /// Fetches because a token names a key that is not there, unless a fetch has begun a short time ago.
    func refreshForUnknownKey() async -> Bool {
        if underway == nil, let lastBegin, .now - lastBegin < unknownKeyGap { return false }
        return await refresh()
    }

    private func fetchOnce() async -> Bool {
        tally.withLock { $0.fetched += 1 }
        do throws(KeyFault) {
            let answer = try await fetch(present?.entityTag)
            if let document = answer.document, document != present?.document {
                let set = try await KeySet(document, acceptsSecrets: false)
                for line in set.skipped.prefix(10) { logger.warning("token-jwks: \(line); passed over") }
                logger.info("keys fetched", metadata: ["keys": "\(set.keys.count)"])
                present = (document, answer.entityTag)
                use(set.keys)
            } else if answer.document != nil {
                present?.entityTag = answer.entityTag
            }
            maxAge = answer.maxAge
            failureCount = 0
            return true
        } catch {
            tally.withLock { $0.failed += 1 }
            failureCount += 1
            let consequence = present == nil ? "tokens cannot be checked by them yet" : "the keys at hand stay"
            logger.warning("token-jwks not fetched, \(consequence): \(error)")
            return false
        }
    }
}

/// Fetches a document of keys by HTTP.
///
/// Redirections are not followed: where keys come from is the operator's word, not another server's.
struct KeyFetcher: Sendable {
    /// Where the document is.
    let url: String

    /// The time for all of a fetch.
    var timeout: Duration = .seconds(10)

    /// Fetches the document, unless it is still the one with that entity tag.
    func fetch(_ entityTag: String?) async throws(KeyFault) -> RemoteKeys.Answer {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = min(TimeAmount(timeout), .seconds(5))
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let outcome: Result<RemoteKeys.Answer, KeyFault>
        do {
            outcome = .success(try await answerInTime(of: client, entityTag))
        } catch let fault as KeyFault {
            outcome = .failure(fault)
        } catch {
            outcome = .failure(KeyFault("the request failed: \(EscapedText.inline("\(error)".prefix(200)))"))
        }
        try? await client.shutdown()
        return try outcome.get()
    }

    /// The client's own timeout ends with the answer's head; this one covers the document as well.
    private func answerInTime(of client: HTTPClient, _ entityTag: String?) async throws -> RemoteKeys.Answer {
        try await withThrowingTaskGroup(of: RemoteKeys.Answer.self) { group in
            group.addTask { try await answer(of: client, entityTag) }
            group.addTask {
                try await Task.sleep(for: timeout)
                throw KeyFault("the answer took longer than \(Quantities.text(timeout))")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw KeyFault("there is no answer") }
            return first
        }
    }

    private func answer(of client: HTTPClient, _ entityTag: String?) async throws -> RemoteKeys.Answer {
        var request = HTTPClientRequest(url: url)
        request.headers.add(name: "Accept", value: "application/jwk-set+json, application/json")
        request.headers.add(name: "User-Agent", value: "herald/\(ServerRunner.version)")
        if let entityTag { request.headers.add(name: "If-None-Match", value: entityTag) }
        let response = try await client.execute(request, timeout: TimeAmount(timeout))
        let maxAge = Self.maxAge(response.headers[canonicalForm: "Cache-Control"].map(String.init))
        if response.status == .notModified, entityTag != nil {
            return RemoteKeys.Answer(document: nil, entityTag: entityTag, maxAge: maxAge)
        }
        guard response.status == .ok else { throw KeyFault("the answer's status is \(response.status.code)") }
        var document: [UInt8] = []
        for try await piece in response.body {
            document += piece.readableBytesView
            guard document.count <= KeyDocument.lengthMax else {
                throw KeyFault("the answer is larger than \(KeyDocument.lengthMax) bytes")
            }
        }
        return RemoteKeys.Answer(document: document, entityTag: response.headers.first(name: "ETag"), maxAge: maxAge)
    }

    /// The `max-age` of a Cache-Control header, its items apart; nil if there is none.
    static func maxAge(_ items: [String]) -> Duration? {
        for item in items {
            let parts = item.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "max-age", let seconds = Quantities.count(String(parts[1]))
            else { continue }
            return .seconds(min(seconds, 365 * 86_400))
        }
        return nil
    }
}
