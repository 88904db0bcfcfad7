import HeraldCore
import Logging
import Synchronization

/// Tells what tokens grant: checks their signatures with the keys that were configured, and remembers the outcome.
///
/// Any thread. Keys come from files, which are read again when they change, and from a URL; a change of keys makes all
/// that is remembered void.
final class TokenVerifier: Sendable {
    /// The keys by where they come from.
    private struct Ring {
        var files: [String: [TokenKey]] = [:]
        var fetched: [TokenKey]?
        var generation: UInt64 = 0

        var all: [TokenKey] { files.sorted { $0.key < $1.key }.flatMap(\.value) + (fetched ?? []) }
    }

    private let settings: ServerSettings
    private let leeway: Int64
    private let logger: Logger
    private let watch: FileWatch
    private let remote: RemoteKeys?
    private let keys: SharedKeys
    private let cache: TokenCache
    private let verified = Atomic<UInt64>(0)
    private let cacheHits = Atomic<UInt64>(0)
    private let faults = Mutex<[TokenFault.Kind: UInt64]>([:])

    /// For how many seconds a token that was refused is refused without another look.
    static let faultLifetime: Int64 = 10

    /// The same if it names a key that is not there, which may come at any moment.
    static let unknownKeyLifetime: Int64 = 1

    /// The keys in force, shared with what changes them.
    private final class SharedKeys: Sendable {
        private let ring = Mutex(Ring())
        private let generation = Atomic<UInt64>(0)

        /// The keys, whether those of the URL are there, and the generation of both.
        var present: (keys: [TokenKey], isFetched: Bool, generation: UInt64) {
            ring.withLock { ($0.all, $0.fetched != nil, $0.generation) }
        }

        /// The generation alone, without a lock.
        var presentGeneration: UInt64 { generation.load(ordering: .acquiring) }

        func change(_ body: (inout Ring) -> Void) {
            ring.withLock { ring in
                body(&ring)
                ring.generation += 1
                generation.store(ring.generation, ordering: .releasing)
            }
        }
    }

    /// Reads the key files. Throws what is wrong with them; keys of a URL are fetched by ``run()``.
    convenience init(_ settings: ServerSettings, _ logger: Logger) async throws(StartFailure) {
        try await self.init(settings, logger, fetch: settings.tokenJWKS.map { KeyFetcher(url: $0).fetch })
    }

    /// The same, with what fetches the keys.
    init(
        _ settings: ServerSettings, _ logger: Logger, unknownKeyGap: Duration = .seconds(10),
        fetch: RemoteKeys.Fetch?
    ) async throws(StartFailure) {
        let keys = SharedKeys()
        let cache = TokenCache(entryCountMax: settings.tokenCache)
        self.settings = settings
        leeway = settings.tokenLeeway.components.seconds
        self.logger = logger
        self.keys = keys
        self.cache = cache
        watch = FileWatch(Self.files(settings))
        remote = fetch.map { fetch in
            RemoteKeys(
                interval: settings.tokenJWKSRefresh, unknownKeyGap: unknownKeyGap, logger: logger, fetch: fetch
            ) { fetched in
                keys.change { $0.fetched = fetched }
                cache.removeAll()
            }
        }
        for (path, outcome) in await Self.read(settings) {
            switch outcome {
            case .success(let read): keys.change { $0.files[path] = read }
            case .failure(let fault):
                throw StartFailure(description: "cannot use the key file \(EscapedText.quoted(path)): it \(fault)")
            }
        }
    }

    /// Whether there is anything to check tokens with.
    var isConfigured: Bool { settings.areTokensConfigured }

    /// What a token grants at a time. Throws why it grants nothing.
    func verify(_ token: String, at now: Int64) async throws(TokenFault) -> Grant {
        let generation = keys.presentGeneration
        do throws(TokenFault) {
            let grant = try await authenticate(token)
            if let fault = grant.fault(at: now, leeway: leeway) { throw fault }
            verified.add(1, ordering: .relaxed)
            return grant
        } catch {
            count(error)
            remember(error, of: token, at: now, generation)
            throw error
        }
    }

    /// What is remembered of a token, without waiting; nil if nothing is, and ``verify(_:at:)`` has to tell.
    func cached(_ token: borrowing Bytes, at now: Int64) -> Result<Grant, TokenFault>? {
        guard token.count <= TokenFault.lengthMax else {
            count(.tooLong)
            return .failure(.tooLong)
        }
        let outcome = cache.find(TokenDigest(token), generation: keys.presentGeneration)
        switch outcome {
        case .grant(let grant)?:
            cacheHits.add(1, ordering: .relaxed)
            guard let fault = grant.fault(at: now, leeway: leeway) else { return .success(grant) }
            count(fault)
            return .failure(fault)
        case .fault(let fault, let until)? where now < until:
            cacheHits.add(1, ordering: .relaxed)
            count(fault)
            return .failure(fault)
        default: return nil
        }
    }

    /// The second since 1970 from which on a grant is void, leeway included; nil: never.
    func end(of grant: Grant) -> Int64? {
        grant.expiry.map { $0 + leeway }
    }

    /// Keeps the keys those of their files and URL until the task is cancelled.
    func run() async {
        guard isConfigured else { return }
        await withTaskGroup(of: Void.self) { group in
            if let remote { group.addTask { await remote.run() } }
            group.addTask { await self.watch.run { await self.reload(because: $0) } }
        }
    }

    /// Fetches the keys of the URL now; answers whether that went well.
    func fetchKeys() async -> Bool {
        await remote?.refresh() ?? true
    }
}

// MARK: - Checking

extension TokenVerifier {
    /// What a token grants, its dates left aside. What keys, issuer and audience have to say is remembered.
    private func authenticate(_ token: String) async throws(TokenFault) -> Grant {
        let parts = try TokenParts(token)
        guard TokenKey.algorithms.contains(parts.header.algorithm) else { throw .unsupportedAlgorithm }
        var (present, isFetched, generation) = keys.present
        var fault = Self.fault(in: parts, among: present)
        if fault != nil, let remote, let id = parts.header.keyID, !present.contains(where: { $0.id == id }) {
            if await remote.refreshForUnknownKey() {
                (present, isFetched, generation) = keys.present
                fault = Self.fault(in: parts, among: present)
            }
        }
        if let fault { throw remote != nil && !isFetched ? .keysUnavailable : fault }
        let claims = try TokenClaims(parts.payload)
        if let issuer = settings.tokenIssuer, claims.issuer != issuer { throw .wrongIssuer }
        if let audience = settings.tokenAudience, claims.audience?.contains(audience) != true { throw .wrongAudience }
        cache.insert(.grant(claims.grant), for: TokenDigest(token), generation: generation)
        return claims.grant
    }

    /// Why none of the keys vouches for a token; nil if one does.
    ///
    /// A token that names a key is checked with that key alone; keys without a name are tried when there is none of it.
    private static func fault(in parts: TokenParts, among keys: [TokenKey]) -> TokenFault? {
        let algorithm = parts.header.algorithm
        let able = keys.filter { $0.signers[algorithm] != nil }
        guard let id = parts.header.keyID else {
            return able.isEmpty ? .unsupportedAlgorithm : signatureFault(in: parts, among: able)
        }
        if keys.contains(where: { $0.id == id }) {
            let named = able.filter { $0.id == id }
            return named.isEmpty ? .unsupportedAlgorithm : signatureFault(in: parts, among: named)
        }
        let nameless = able.filter { $0.id == nil }
        return nameless.isEmpty ? .unknownKey : signatureFault(in: parts, among: nameless)
    }

    private static func signatureFault(in parts: TokenParts, among keys: [TokenKey]) -> TokenFault? {
        let isGood = keys.contains { $0.made(parts.signature, of: parts.signed, by: parts.header.algorithm) }
        return isGood ? nil : .badSignature
    }

    /// Remembers that a token was refused. A token whose dates were the reason is remembered as a grant already, and what
    /// is too long or could not be judged is not remembered at all.
    private func remember(_ fault: TokenFault, of token: String, at now: Int64, _ generation: UInt64) {
        let lifetime: Int64
        switch fault {
        case .expired, .notYetValid, .tooLong, .keysUnavailable: return
        case .unknownKey: lifetime = Self.unknownKeyLifetime
        default: lifetime = Self.faultLifetime
        }
        cache.insert(.fault(fault, until: now + lifetime), for: TokenDigest(token), generation: generation)
    }

    private func count(_ fault: TokenFault) {
        faults.withLock { $0[fault.kind, default: 0] += 1 }
    }
}

// MARK: - Key files

extension TokenVerifier {
    private static func files(_ settings: ServerSettings) -> [String] {
        (settings.tokenSecretFile.map { [$0] } ?? []) + settings.tokenKeyFiles
    }

    /// Reads all files, each by itself: one that cannot be used takes nothing from the others.
    private static func read(_ settings: ServerSettings) async -> [(String, Result<[TokenKey], KeyFault>)] {
        var outcomes: [(String, Result<[TokenKey], KeyFault>)] = []
        for path in files(settings) {
            do throws(KeyFault) {
                let bytes = try SmallFile.read(path, lengthMax: KeyDocument.lengthMax)
                let isSecret = path == settings.tokenSecretFile
                let read = isSecret ? [try await KeyDocument.secret(bytes)] : try await KeyDocument.keys(bytes)
                outcomes.append((path, .success(read)))
            } catch {
                outcomes.append((path, .failure(error)))
            }
        }
        return outcomes
    }

    /// Reads the files again. What cannot be used changes nothing: the log says what is wrong.
    func reload(because reason: String) async {
        let outcomes = await Self.read(settings)
        keys.change { ring in
            for case (let path, .success(let read)) in outcomes { ring.files[path] = read }
        }
        cache.removeAll()
        for case (let path, .failure(let fault)) in outcomes {
            logger.error("key file not read again, its old keys stay: \(EscapedText.quoted(path)) \(fault)")
        }
        logger.info("key files read again: \(reason)", metadata: ["keys": "\(keys.present.keys.count)"])
        if reason == FileWatch.hangup { await remote?.refresh() }
    }
}

// MARK: - Counts

extension TokenVerifier {
    /// What has happened so far, for metrics.
    struct Counts: Sendable, Hashable {
        /// Tokens that were checked and found good.
        var verified: UInt64 = 0
        /// Tokens that were known already, good or bad.
        var cacheHits: UInt64 = 0
        /// Tokens that were refused, by the reason.
        var faults: [TokenFault.Kind: UInt64] = [:]
        /// Fetches of the key set.
        var fetches = RemoteKeys.Counts()
        /// The keys in force.
        var keyCount = 0
        /// The tokens that are remembered.
        var cachedCount = 0
    }

    /// What has happened so far.
    var counts: Counts {
        Counts(
            verified: verified.load(ordering: .relaxed), cacheHits: cacheHits.load(ordering: .relaxed),
            faults: faults.withLock { $0 }, fetches: remote?.counts ?? RemoteKeys.Counts(),
            keyCount: keys.present.keys.count, cachedCount: cache.count)
    }
}
