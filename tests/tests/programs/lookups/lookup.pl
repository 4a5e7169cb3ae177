# Looks names up in Perl; one line for each argument KIND:NAME (see languages.rs).
use strict;
use warnings;
use Socket qw(:addrinfo AF_INET AF_INET6 SOCK_STREAM inet_aton inet_ntoa inet_pton);

sub look_up {
    my ($kind, $name) = @_;
    if ($kind eq 'all') {
        my ($error, @found) = getaddrinfo($name, '80', { socktype => SOCK_STREAM });
        die "$error\n" if $error;
        return map { (getnameinfo($_->{addr}, NI_NUMERICHOST, NIx_NOSERV))[1] } @found;
    }
    if ($kind eq 'v4') {
        my ($host, $aliases, $type, $length, @found) = gethostbyname($name);
        die 'error ' . ($? + 0) . "\n" unless @found;
        my $first = inet_aton($name);
        die "another address\n" unless grep { $_ eq $first } @found;
        return map { inet_ntoa($_) } @found;
    }
    my $family = $name =~ /:/ ? AF_INET6 : AF_INET;
    my $host = gethostbyaddr(inet_pton($family, $name), $family);
    die 'error ' . ($? + 0) . "\n" unless defined $host;
    return $host;
}

for my $argument (@ARGV) {
    my ($kind, $name) = split /:/, $argument, 2;
    my @found = eval { look_up($kind, $name) };
    my $error = $@;
    chomp $error;
    print join(' ', $argument, $error ne '' ? ('!', $error) : @found), "\n";
}
