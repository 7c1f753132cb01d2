/**
 * How long a test or hook of the lab may take: fifteen minutes. A fault fails earlier, for what is waited for has a minute; only what
 * hangs is meant, and a machine that has ten times as much to do as it can is no fault.
 */
jest.setTimeout(900_000);
