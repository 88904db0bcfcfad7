import FoundationEssentials
import HeraldCore
import Logging
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Who may do what: everything that has a say in it, for as long as the server runs. Any thread.
///
/// Without any token, key or rule configured nobody is asked who they are, and everybody may do everything; the
/// configuration lets such a server listen on loopback alone, unless it is told otherwise.
final class Access: Sendable {
    /// Whether clients are asked who they are.
    let isOn: Bool
    /// What whoever does not say who they are may do.
    let anonymous: Grant
    /// The cookie that a token may be in.
    let cookieName: String
    /// What checks tokens.
    let verifier: TokenVerifier
    /// The API keys.
    let keys: APIKeys
    /// Tokens that are not accepted any more.
    let revocations: Revocations
    /// The readers that are there by a right that can end.
    let admissions: Admissions
    /// How long after its end a token is accepted, in seconds.
    let leeway: Int64
    /// How long a revocation is kept, in seconds.
    let revocationLife: Int64
    /// The seconds since 1970.
    let now: @Sendable () -> Int64

    private let revocationFile: RevocationFile?
    private let logger: Logger
    private let revoking = Mutex<Void>(())
    private let openChecks = Atomic<Int>(0)
    private let openChecksMax: Int

    /// Reads keys and revocations. Throws what is wrong with them.
    init(
        _ settings: ServerSettings, _ logger: Logger, now: @escaping @Sendable () -> Int64 = Access.wallClock
    ) async throws(StartFailure) {
        isOn = settings.isAccessControlled
        anonymous = isOn ? Grant(anonymousBy: settings) : .open
        cookieName = settings.tokenCookie
        verifier = try await TokenVerifier(settings, logger)
        keys = try APIKeys(settings, logger)
        revocations = Revocations(limit: settings.maxRevocations)
        leeway = settings.tokenLeeway.components.seconds
        admissions = Admissions(warning: settings.tokenWarning.components.seconds, leeway: leeway)
        revocationLife = settings.revocationKeep.components.seconds
        openChecksMax = settings.tokenChecks
        self.now = now
        self.logger = logger
        revocationFile = settings.revocationFile.map { RevocationFile($0) }
        if let revocationFile {
            do throws(RevocationFile.Fault) {
                for entry in try revocationFile.load(at: now()) where !revocations.add(entry, at: now()) {
                    throw RevocationFile.Fault(
                        what: "it holds more than max-revocations, \(settings.maxRevocations), that still count")
                }
            } catch {
                throw StartFailure(
                    description:
                        "cannot use the revocation file \(EscapedText.quoted(revocationFile.path)): \(error.what)")
            }
        }
    }

    /// The seconds since 1970.
    @Sendable
    static func wallClock() -> Int64 { Int64(time(nil)) }

    /// Refreshes keys, warns and ends readers, until the task is cancelled.
    func run() async {
        guard isOn else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.verifier.run() }
            group.addTask { await self.keys.run() }
            group.addTask {
                // Often enough that nobody reads on for long, which costs nothing while nothing is due.
                while (try? await Task.sleep(for: .milliseconds(100))) != nil {
                    self.sweep()
                }
            }
        }
    }

    /// Warns and ends whose time has come, and forgets what need not be known any more.
    func sweep() {
        let now = now()
        admissions.sweep(at: now)
        revocations.sweep(at: now)
        if keys.takeChange() {
            // Keys that are gone end what was opened by them.
            admissions.revoke { self.isVoid($0) }
        }
    }

    /// What has happened so far, for metrics.
    var counts: AccessCounts {
        AccessCounts(
            tokens: verifier.counts, apiKeys: keys.count, admissions: admissions.counts,
            revocations: revocations.entryCount, isOn: isOn)
    }

    // MARK: Checks

    /// Begins a check of a token; false: there are as many as there may be at a time.
    func beginCheck() -> Bool {
        let before = openChecks.add(1, ordering: .relaxed).oldValue
        if before < openChecksMax { return true }
        openChecks.subtract(1, ordering: .relaxed)
        return false
    }

    /// Ends a check.
    func endCheck() {
        openChecks.subtract(1, ordering: .relaxed)
    }

    /// Whether no check is going on: requests wait for those.
    var isIdle: Bool { openChecks.load(ordering: .acquiring) == 0 }

    // MARK: Revoking

    /// Revokes what an entry names, on disk first if there is a file, and ends the readers that are there by it. Blocks
    /// for the disk.
    func revoke(_ entry: Revocations.Entry) throws(Problem) {
        // One at a time: what is written down has room, or the server would not start with the file again.
        try revoking.withLock { _ throws(Problem) in try enter(entry) }
        admissions.revoke { self.revocations.covers($0) }
    }

    private func enter(_ entry: Revocations.Entry) throws(Problem) {
        let full = Problem(.overloaded, "there are as many revocations as max-revocations allows")
        guard revocations.hasRoom(for: entry.target, at: now()) else { throw full }
        do throws(RevocationFile.Fault) {
            try revocationFile?.append(entry)
        } catch {
            logger.error("cannot write the revocation file", metadata: ["error": "\(error.what)"])
            throw Problem(.internalError, "the revocation could not be written down; nothing was revoked")
        }
        guard revocations.add(entry, at: now()) else { throw full }
    }
}

extension Grant {
    /// What everybody may do where nobody is asked.
    static let open = Grant(source: .open, publish: .everything, subscribe: .everything, manage: .everything)

    /// Whose what they leave behind is, such as idempotency keys; nil: everybody's.
    var owner: String? {
        switch source {
        case .anonymous, .open: nil
        // A name's kind is told, as one subject's name may be another's `jti`.
        case .token: subject.map { "sub \($0)" } ?? tokenID.map { "jti \($0)" }
        case .apiKey: subject.map { "key \($0)" }
        }
    }

    /// What somebody may do whose connection has gone.
    static let nothing = Grant(source: .anonymous)

    /// What those may do who do not say who they are.
    convenience init(anonymousBy settings: ServerSettings) {
        if settings.allowAnonymous {
            self.init(source: .anonymous, publish: .everything, subscribe: .everything)
        } else {
            self.init(
                source: .anonymous,
                publish: FilterSet(settings.anonymousPublish.compactMap { try? FilterName($0) }),
                subscribe: FilterSet(settings.anonymousSubscribe.compactMap { try? FilterName($0) }))
        }
    }
}
